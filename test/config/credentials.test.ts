import assert from "node:assert/strict";
import { test } from "node:test";
import { join, resolve } from "node:path";
import { parseConfig } from "../../src/config/mod.ts";
import { parse, problems, small } from "./kit.ts";

const AWS = "org.apache.pulsar.io.aws.";
const KINESIS = "org.apache.pulsar.io.kinesis.";
const ROLE = "arn:aws:iam::123456789012:role/team/reader";

function credentials(name: string, param: string) {
  return parse({ ...small, awsCredentialPluginName: name, awsCredentialPluginParam: param }).awsCredentials;
}

function refusal(name: string, param: string): string[] {
  return problems({ ...small, awsCredentialPluginName: name, awsCredentialPluginParam: param });
}

test("config credentials: static keys as JSON, with and without session token; both empty = default chain", () => {
  assert.deepEqual(credentials("", '{"accessKey":"a","secretKey":"b"}'), {
    type: "static",
    accessKeyId: "a",
    secretAccessKey: "b",
  });
  assert.deepEqual(credentials("", '{"accessKey":"a","secretKey":"b","sessionToken":"c"}'), {
    type: "static",
    accessKeyId: "a",
    secretAccessKey: "b",
    sessionToken: "c",
  });
  assert.deepEqual(credentials("", ""), { type: "default" });
});

test("config credentials: the two Java plugins are known under both package names", () => {
  for (const prefix of [AWS, KINESIS]) {
    assert.deepEqual(credentials(`${prefix}AwsDefaultProviderChainPlugin`, "anything"), { type: "default" });
    assert.deepEqual(
      credentials(
        `${prefix}STSAssumeRoleProviderPlugin`,
        JSON.stringify({ roleArn: ROLE, roleSessionName: "me" }),
      ),
      { type: "assume-role", roleArn: ROLE, roleSessionName: "me" },
    );
  }
  assert.deepEqual(
    credentials(`${AWS}STSAssumeRoleProviderPlugin`, JSON.stringify({ roleArn: ROLE, externalId: "x" })),
    { type: "assume-role", roleArn: ROLE, roleSessionName: "app", externalId: "x" },
  );
});

test("config credentials: a script is found beside the file, and gets the parameter", () => {
  assert.deepEqual(credentials("./creds.mts", "p"), {
    type: "script",
    path: resolve("creds.mts"),
    param: "p",
  });
  const config = parseConfig({ ...small, awsCredentialPluginName: "creds.js" }, {
    env: {},
    source: "/etc/kp/c.toml",
  });
  assert.deepEqual(config.awsCredentials, { type: "script", path: join("/etc/kp", "creds.js") });
});

test("config credentials: another class is refused with what is possible", () => {
  const [line] = refusal("com.acme.MyPlugin", "");
  assert.match(
    line!,
    /^awsCredentialPluginName = "com\.acme\.MyPlugin": must be org\.apache\.pulsar\.io\.aws\.AwsDefault/,
  );
  assert.match(line!, /path of a script.*other Java classes cannot be loaded/);
  assert.equal(refusal(`${AWS}OtherPlugin`, "").length, 1);
});

test("config credentials: a wrong parameter is refused without showing it", () => {
  const sts = `${AWS}STSAssumeRoleProviderPlugin`;
  const cases: [string, string, RegExp][] = [
    ["", '{"accessKey":"HUSH","secretKey":"HUSH"', /is not valid: it must be a JSON object in a string/],
    ["", "HUSH", /is not valid/],
    ["", '["HUSH"]', /is not valid/],
    ["", '{"accessKey":"HUSH"}', /lacks secretKey: without a plugin it must be JSON like/],
    ["", '{"accessKeyId":"HUSH","secretAccessKey":"HUSH"}', /lacks accessKey and secretKey/],
    ["", '{"accessKey":" ","secretKey":"HUSH"}', /lacks accessKey/],
    ["", '{"accessKey":1,"secretKey":"HUSH"}', /accessKey must be a string/],
    [sts, "", /lacks roleArn/],
    [sts, '{"roleArn":"HUSH"}', /has a roleArn that is no role's ARN/],
    [sts, JSON.stringify({ roleArn: ROLE, roleSessionName: "H U S H" }), /roleSessionName that STS refuses/],
  ];
  for (const [name, param, wanted] of cases) {
    const text = refusal(name, param).join("\n");
    assert.match(text, wanted);
    assert.match(text, /^awsCredentialPluginParam/);
    assert.ok(!/HUSH|H U S H/.test(text), text);
  }
  const object = problems({ ...small, awsCredentialPluginParam: { accessKey: "HUSH", secretKey: "HUSH" } });
  assert.deepEqual(object, ["awsCredentialPluginParam = (hidden): must be text (in quotes)"]);
});
