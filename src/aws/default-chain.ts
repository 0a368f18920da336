// The SDK's default chain: environment, profile, SSO, web identity, container, instance. When no link gives anything the
// SDK says only that; here the error names what was looked at and what is missing.

import process from "node:process";
import { awsFailure } from "../core/aws-failure.ts";
import { ConnectorError } from "../core/errors.ts";
import { awsClientConfig } from "./client-config.ts";
import type { CredentialOptions, CredentialProvider } from "./credentials.ts";
import { safeCause, safeWords } from "../core/secrets.ts";
import { shareCredentials } from "./shared-credentials.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const SECRET_VARIABLES = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
];
const TIMEOUT_MS = 8000;

/** Credentials of the default chain, renewed before they end. */
export async function defaultChain(options: CredentialOptions): Promise<CredentialProvider> {
  const { fromNodeProviderChain } = await import("@aws-sdk/credential-providers");
  const { region } = options.sts;
  const { requestHandler, logger, userAgentAppId } = await awsClientConfig({
    region,
    credentials: () => Promise.reject(new Error("clients of the chain bring their own")),
    userAgent: options.userAgent,
    log: options.log,
    requestTimeoutMs: TIMEOUT_MS,
    maxSockets: 2,
  });
  const chain = fromNodeProviderChain({ logger });
  // Not as `clientConfig`: its region would take the place of a profile's own and of the one that SSO lives in.
  const callerClientConfig = {
    region: () => Promise.resolve(region),
    requestHandler,
    logger,
    userAgentAppId: () => Promise.resolve(userAgentAppId),
  };
  const fetch = async () => {
    try {
      return await chain({ callerClientConfig });
    } catch (error) {
      throw chainError(error, process.env);
    }
  };
  return shareCredentials(fetch, { ...options, source: "default credential chain" });
}

function chainError(error: unknown, env: Environment): ConnectorError {
  const secrets = SECRET_VARIABLES.map((name) => env[name] ?? "");
  const cause = safeCause(error, secrets);
  const words = safeWords(error, secrets);
  switch (awsFailure(error)) {
    case "throttled":
    case "clock-skew":
    case "unavailable":
      return new ConnectorError(`AWS credentials cannot be fetched now (${words})`, {
        code: "AWS_UNAVAILABLE",
        retryable: true,
        cause,
      });
  }
  const found = /from any providers/.test(words)
    ? `no AWS credentials were found: ${whatIsMissing(env)}`
    : `AWS credentials cannot be loaded: ${words}${rolesOf(env)}`;
  return new ConnectorError(
    `${found}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or ` +
      'awsCredentialPluginParam = \'{"accessKey": "…", "secretKey": "…"}\'',
    { code: "CREDENTIALS_INVALID", cause },
  );
}

/** What each link of the chain lacks, in its order. Names of variables and profiles only. */
export function whatIsMissing(env: Environment): string {
  const has = (name: string) => (env[name] ?? "") !== "";
  const pair = (one: string, other: string) =>
    has(one) === has(other)
      ? has(one) ? undefined : `${one} and ${other} are not set`
      : has(one)
      ? `${one} is set, but ${other} is not`
      : `${other} is set, but ${one} is not`;
  const container = ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"].find(
    has,
  );
  const disabled = has("AWS_EC2_METADATA_DISABLED") && env["AWS_EC2_METADATA_DISABLED"] !== "false";
  const findings = [
    has("AWS_PROFILE")
      ? "AWS_PROFILE is set, so keys of the environment do not count"
      : pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    `the profile "${env["AWS_PROFILE"] || "default"}" of the AWS configuration files gives none`,
    has("AWS_ROLE_ARN") || has("AWS_WEB_IDENTITY_TOKEN_FILE")
      ? pair("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")
      : undefined,
    container !== undefined
      ? `the container's endpoint (${container}) gives none`
      : disabled
      ? "EC2 instance metadata is switched off by AWS_EC2_METADATA_DISABLED"
      : "there is no EC2 instance role",
  ];
  return findings.filter((finding) => finding !== undefined).join("; ");
}

function rolesOf(env: Environment): string {
  return env["AWS_ROLE_ARN"] ? ` (role ${env["AWS_ROLE_ARN"]} of AWS_ROLE_ARN)` : "";
}
