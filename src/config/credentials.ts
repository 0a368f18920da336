// `awsCredentialPluginName` and `awsCredentialPluginParam` as a choice of credentials. The parameter's text and the
// words of JSON.parse about it never leave this file: both may show keys.

import type { Findings } from "./findings.ts";
import { toAwsName } from "./names.ts";
import { resolveFile } from "./files.ts";
import type { AwsCredentials } from "./types.ts";

const PACKAGES = /^org\.apache\.pulsar\.io\.(?:kinesis|aws)\.(\w+)$/;
const SCRIPT = /[/\\]|\.[cm]?[jt]s$/;
const PARAM = ["awsCredentialPluginParam"];

/** What the two keys mean; problems go to `findings`, and the result is then the default chain. */
export function resolveCredentials(
  name: string | undefined,
  param: string | undefined,
  applicationName: string,
  findings: Findings,
): AwsCredentials {
  if (name === undefined) return param === undefined ? { type: "default" } : staticKeys(param, findings);
  const plugin = PACKAGES.exec(name.trim())?.[1];
  if (plugin === "AwsDefaultProviderChainPlugin") return { type: "default" };
  if (plugin === "STSAssumeRoleProviderPlugin") return assumeRole(param, applicationName, findings);
  if (plugin === undefined && SCRIPT.test(name)) {
    return {
      type: "script",
      path: resolveFile(name, findings.source),
      ...param === undefined ? {} : { param },
    };
  }
  findings.wrongValue(
    ["awsCredentialPluginName"],
    name,
    "org.apache.pulsar.io.aws.AwsDefaultProviderChainPlugin, " +
      "org.apache.pulsar.io.aws.STSAssumeRoleProviderPlugin (or both under org.apache.pulsar.io.kinesis), or the " +
      "path of a script like ./credentials.mts; other Java classes cannot be loaded here",
  );
  return { type: "default" };
}

function staticKeys(param: string, findings: Findings): AwsCredentials {
  const keys = parseParam(param, findings);
  if (keys === undefined) return { type: "default" };
  const accessKeyId = word(keys, "accessKey", findings);
  const secretAccessKey = word(keys, "secretKey", findings);
  const missing = [accessKeyId ? "" : "accessKey", secretAccessKey ? "" : "secretKey"].filter((key) =>
    key !== ""
  );
  if (missing.length > 0) {
    findings.problem(
      PARAM,
      ` lacks ${missing.join(" and ")}: without a plugin it must be JSON like ` +
        `{"accessKey": "…", "secretKey": "…"}, with "sessionToken" for temporary keys`,
    );
  }
  const sessionToken = word(keys, "sessionToken", findings);
  return {
    type: "static",
    accessKeyId: accessKeyId ?? "",
    secretAccessKey: secretAccessKey ?? "",
    ...sessionToken === undefined ? {} : { sessionToken },
  };
}

function assumeRole(param: string | undefined, applicationName: string, findings: Findings): AwsCredentials {
  const keys = param === undefined ? {} : parseParam(param, findings);
  if (keys === undefined) return { type: "default" };
  const roleArn = word(keys, "roleArn", findings);
  if (roleArn === undefined || !/^arn:[^:]+:iam::\d{12}:role\/\S+$/.test(roleArn)) {
    const fault = roleArn === undefined ? "lacks roleArn" : "has a roleArn that is no role's ARN";
    findings.problem(
      PARAM,
      ` ${fault}: to assume a role it must be JSON like ` +
        `{"roleArn": "arn:aws:iam::123456789012:role/name", "roleSessionName": "name"}`,
    );
  }
  const roleSessionName = word(keys, "roleSessionName", findings) ?? toAwsName(applicationName).slice(0, 64);
  if (!/^[\w+=,.@-]{2,64}$/.test(roleSessionName)) {
    findings.problem(
      PARAM,
      " has a roleSessionName that STS refuses: it must be 2 to 64 letters, digits and + = , . @ - _",
    );
  }
  const externalId = word(keys, "externalId", findings);
  return {
    type: "assume-role",
    roleArn: roleArn ?? "",
    roleSessionName,
    ...externalId === undefined ? {} : { externalId },
  };
}

function parseParam(param: string, findings: Findings): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(param);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch {
    // Said below; the parser's own words may quote the keys.
  }
  findings.problem(PARAM, " is not valid: it must be a JSON object in a string (its value is not shown)");
  return undefined;
}

/** A text of the parameter; blank = not given. */
function word(keys: Record<string, unknown>, key: string, findings: Findings): string | undefined {
  const value = keys[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") {
    findings.problem(PARAM, `: ${key} must be a string`);
    return undefined;
  }
  return value.trim() === "" ? undefined : value.trim();
}
