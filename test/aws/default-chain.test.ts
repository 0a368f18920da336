// Fixed keys and the SDK's default chain, with an environment of the test's own and no network.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openCredentials } from "../../src/aws/credentials.ts";
import { whatIsMissing } from "../../src/aws/default-chain.ts";
import type { ConnectorError } from "../../src/core/errors.ts";
import { awsEnvironment, everythingShown, kit, rejection, stsKit, temporaryFile } from "./kit.ts";

test("aws keys: fixed ones are given as they are, with their session token", async () => {
  const { options } = kit();
  const keys = { accessKeyId: "AKIDFIXED", secretAccessKey: "s", sessionToken: "t" };
  assert.deepEqual(await (await openCredentials({ type: "static", ...keys }, options))(), keys);
});

test("aws default chain: takes keys of the environment", async (t) => {
  const { options } = kit();
  await awsEnvironment(t, {
    AWS_ACCESS_KEY_ID: "AKIDENV",
    AWS_SECRET_ACCESS_KEY: "env-secret",
    AWS_SESSION_TOKEN: "env-token",
  });
  const keys = await (await openCredentials({ type: "default" }, options))();
  assert.equal(keys.accessKeyId, "AKIDENV");
  assert.equal(keys.sessionToken, "env-token");
});

test("aws default chain: takes keys of the profile that AWS_PROFILE names, and the SDK's warning goes to the log", async (t) => {
  const { options, log } = kit();
  const file = await temporaryFile(
    t,
    "credentials",
    "[orders]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = profile-secret\n",
  );
  await awsEnvironment(t, {
    AWS_SHARED_CREDENTIALS_FILE: file,
    AWS_PROFILE: "orders",
    AWS_ACCESS_KEY_ID: "AKIDENV",
    AWS_SECRET_ACCESS_KEY: "env-secret",
  });
  assert.equal((await (await openCredentials({ type: "default" }, options))()).accessKeyId, "AKIDPROFILE");
  assert.match(log.messages("warn").join(), /AWS SDK: .*Multiple credential sources detected/s);
});

test("aws default chain: a profile's role is asked for in the profile's own region", async (t) => {
  const { options, sts } = await stsKit(t);
  const file = await temporaryFile(
    t,
    "config",
    "[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = base-secret\n" +
      "[profile orders]\nrole_arn = arn:aws:iam::123456789012:role/reader\nsource_profile = base\nregion = ap-south-1\n" +
      "[profile nowhere]\nrole_arn = arn:aws:iam::123456789012:role/reader\nsource_profile = base\n",
  );
  await awsEnvironment(t, { AWS_CONFIG_FILE: file, AWS_PROFILE: "orders", AWS_ENDPOINT_URL_STS: sts.url });
  const keys = await (await openCredentials({ type: "default" }, options))();
  assert.equal(keys.accessKeyId, "ASIAISSUED1");
  await awsEnvironment(t, { AWS_CONFIG_FILE: file, AWS_PROFILE: "nowhere", AWS_ENDPOINT_URL_STS: sts.url });
  await (await openCredentials({ type: "default" }, options))();
  assert.deepEqual(sts.calls.map(({ region, accessKeyId }) => [region, accessKeyId]), [
    ["ap-south-1", "AKIDBASE"],
    ["eu-west-1", "AKIDBASE"],
  ]);
});

test("aws default chain: where nothing gives keys the error says what was looked for and what to set", async (t) => {
  const { options } = kit();
  await awsEnvironment(t);
  const error = await rejection((await openCredentials({ type: "default" }, options))()) as ConnectorError;
  assert.equal(error.code, "CREDENTIALS_INVALID");
  assert.match(
    error.message,
    /^no AWS credentials were found: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set/,
  );
  assert.match(error.message, /the profile "default" .* gives none; EC2 instance metadata is switched off/);
  assert.match(error.message, /Set AWS_ACCESS_KEY_ID .*awsCredentialPluginParam/);
  assert.ok(error.cause instanceof Error);
});

test("aws default chain: a broken choice is named, and no secret is shown", async (t) => {
  const { options } = kit();
  await awsEnvironment(t, { AWS_PROFILE: "no-such-profile", AWS_SECRET_ACCESS_KEY: "env-secret-value" });
  const error = await rejection((await openCredentials({ type: "default" }, options))());
  assert.match(error.message, /AWS_PROFILE is set.*the profile "no-such-profile" .* gives none/);
  assert.doesNotMatch(everythingShown(error), /env-secret-value/);
});

test("aws default chain: a web identity whose token file is missing is named with file and role", async (t) => {
  const { options } = kit();
  await awsEnvironment(t, {
    AWS_WEB_IDENTITY_TOKEN_FILE: "/nowhere/token",
    AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/pod",
  });
  const error = await rejection((await openCredentials({ type: "default" }, options))()) as ConnectorError;
  assert.equal(error.code, "CREDENTIALS_INVALID");
  assert.match(error.message, /cannot be loaded: .*\/nowhere\/token.*role\/pod of AWS_ROLE_ARN/);
});

test("aws default chain: a credential process that fails shows none of its arguments", async (t) => {
  const { options } = kit();
  const file = await temporaryFile(
    t,
    "config",
    "[default]\ncredential_process = false --password process-secret\n",
  );
  await awsEnvironment(t, { AWS_CONFIG_FILE: file });
  const error = await rejection((await openCredentials({ type: "default" }, options))());
  assert.match(error.message, /^no AWS credentials were found/);
  assert.doesNotMatch(everythingShown(error), /process-secret/);
});

test("aws default chain: what is missing follows the environment", () => {
  assert.match(
    whatIsMissing({ AWS_ACCESS_KEY_ID: "AKID" }),
    /^AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not;/,
  );
  assert.match(
    whatIsMissing({ AWS_SECRET_ACCESS_KEY: "hidden" }),
    /^AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not;/,
  );
  assert.match(
    whatIsMissing({ AWS_ROLE_ARN: "role" }),
    /AWS_ROLE_ARN is set, but AWS_WEB_IDENTITY_TOKEN_FILE is not; there is no EC2 instance role$/,
  );
  assert.match(
    whatIsMissing({ AWS_CONTAINER_CREDENTIALS_FULL_URI: "http://127.0.0.1/x?token=hidden" }),
    /the container's endpoint \(AWS_CONTAINER_CREDENTIALS_FULL_URI\) gives none$/,
  );
});
