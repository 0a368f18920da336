// Roles, against a stand-in for STS.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assumeRole, type CredentialProvider, openCredentials } from "../../src/aws/credentials.ts";
import { ConnectorError } from "../../src/core/errors.ts";
import { awsEnvironment, everythingShown, kit, rejection, stsKit } from "./kit.ts";

const ROLE = "arn:aws:iam::123456789012:role/reader";
const base: CredentialProvider = () =>
  Promise.resolve({ accessKeyId: "AKIDBASE", secretAccessKey: "base-secret", sessionToken: "base-token" });

test("aws role: STS gets role, session name and external id, signed by the default chain for the given region", async (t) => {
  const { sts, options } = await stsKit(t);
  await awsEnvironment(t, { AWS_ACCESS_KEY_ID: "AKIDENV", AWS_SECRET_ACCESS_KEY: "env-secret" });
  const provider = await openCredentials({
    type: "assume-role",
    roleArn: ROLE,
    roleSessionName: "orders",
    externalId: "unit-7",
  }, options);
  assert.equal(sts.calls.length, 0, "nothing is asked before credentials are needed");
  const keys = await provider();
  assert.equal(keys.accessKeyId, "ASIAISSUED1");
  assert.equal(keys.secretAccessKey, "issued-secret-1");
  assert.equal(keys.sessionToken, "issued-session-token-1");
  const { userAgent, ...call } = sts.calls[0]!;
  assert.deepEqual(call, {
    roleArn: ROLE,
    roleSessionName: "orders",
    externalId: "unit-7",
    accessKeyId: "AKIDENV",
    region: "eu-west-1",
    sessionToken: undefined,
  });
  assert.match(userAgent, /My-test-application/);
});

test("aws role: the endpoint of STS may come from AWS_ENDPOINT_URL_STS", async (t) => {
  const { sts, options } = await stsKit(t);
  await awsEnvironment(t, { AWS_ENDPOINT_URL_STS: sts.url });
  const provider = await assumeRole({ roleArn: ROLE }, base, { ...options, sts: { region: "eu-west-1" } });
  assert.equal((await provider()).accessKeyId, "ASIAISSUED1");
});

test("aws role: a service's role is taken on with the base credentials, whatever these are", async (t) => {
  const { sts, options } = await stsKit(t);
  const fixed = await openCredentials({
    type: "static",
    accessKeyId: "AKIDFIXED",
    secretAccessKey: "fixed-secret",
    sessionToken: "fixed-token",
  }, options);
  const first = await assumeRole({ roleArn: ROLE, externalId: "one" }, fixed, options);
  const second = await assumeRole({ roleArn: `${ROLE}-2` }, first, options);
  assert.equal((await second()).accessKeyId, "ASIAISSUED2");
  assert.deepEqual(
    sts.calls.map(({ accessKeyId, sessionToken, roleArn, externalId }) => [
      accessKeyId,
      sessionToken,
      roleArn,
      externalId,
    ]),
    [
      ["AKIDFIXED", "fixed-token", ROLE, "one"],
      ["ASIAISSUED1", "issued-session-token-1", `${ROLE}-2`, undefined],
    ],
  );
});

test("aws role: keys are asked for once, and anew before they end while the old ones still serve", async (t) => {
  const { sts, clock, options } = await stsKit(t);
  const provider = await assumeRole({ roleArn: ROLE }, base, options);
  await Promise.all([provider(), provider(), provider()]);
  await clock.advance(54 * 60_000);
  assert.equal((await provider()).accessKeyId, "ASIAISSUED1");
  assert.equal(sts.calls.length, 1);
  await clock.advance(2 * 60_000);
  assert.equal((await provider()).accessKeyId, "ASIAISSUED1", "nobody waits for a renewal");
  for (let wait = 0; wait < 500 && (await provider()).accessKeyId === "ASIAISSUED1"; wait++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.equal((await provider()).accessKeyId, "ASIAISSUED2");
  assert.equal(sts.calls.length, 2);
});

test("aws role: keys that live for seconds are not asked for at every call", async (t) => {
  const { sts, options } = await stsKit(t);
  sts.lifetimeMs = 60_000;
  const provider = await assumeRole({ roleArn: ROLE }, base, options);
  for (let call = 0; call < 20; call++) await provider();
  assert.equal(sts.calls.length, 1);
});

test("aws role: a refusal names the role, the missing permission and the external id", async (t) => {
  const { sts, options } = await stsKit(t);
  sts.refusal = {
    code: "AccessDenied",
    message: "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: sts:AssumeRole",
  };
  const error = await rejection((await assumeRole({ roleArn: ROLE }, base, options))());
  assert.ok(error instanceof ConnectorError);
  assert.equal(error.code, "ACCESS_DENIED");
  assert.equal(error.retryable, false);
  assert.match(error.message, /cannot assume the role arn:aws:iam::123456789012:role\/reader/);
  assert.match(
    error.message,
    /sts:AssumeRole.*trust policy.*if it asks for an externalId, give one.*user\/ci/,
  );
  assert.ok(error.cause instanceof Error);
  const named = await rejection((await assumeRole({ roleArn: ROLE, externalId: "x" }, base, options))());
  assert.match(named.message, /trust policy must name them and this externalId/);
  assert.equal(sts.calls.length, 2, "a refusal is not tried again");
});

test("aws role: base keys that STS does not accept are CREDENTIALS_INVALID, and nothing of them is shown", async (t) => {
  const { sts, options } = await stsKit(t);
  const provider = await assumeRole({ roleArn: ROLE }, base, options);
  const codes = ["SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken"];
  const faults = [/secret key does not fit/, /not known there/, /have expired/];
  for (const [i, code] of codes.entries()) {
    // What AWS really adds: the request as it should have been signed, session token included.
    const message =
      "The signature does not match. The Canonical String should have been 'POST x-amz-security-token:base-token'";
    sts.refusal = { code, message };
    const error = await rejection(provider());
    assert.equal((error as ConnectorError).code, "CREDENTIALS_INVALID");
    assert.match(error.message, faults[i]!);
    assert.match(error.message, /role\/reader/);
    assert.doesNotMatch(everythingShown(error), /base-token|base-secret/);
  }
});

test("aws role: an STS that fails is AWS_UNAVAILABLE, after three tries, and may be tried again", async (t) => {
  const { sts, options } = await stsKit(t);
  sts.refusal = { status: 503, code: "ServiceUnavailable", message: "later" };
  const provider = await assumeRole({ roleArn: ROLE }, base, options);
  const error = await rejection(provider());
  assert.equal((error as ConnectorError).code, "AWS_UNAVAILABLE");
  assert.equal((error as ConnectorError).retryable, true);
  assert.equal(sts.calls.length, 3);
  sts.refusal = undefined;
  assert.equal((await provider()).accessKeyId, "ASIAISSUED1");
});

test("aws role: an unreachable STS is AWS_UNAVAILABLE", async () => {
  const { options } = kit("http://127.0.0.1:1");
  const error = await rejection((await assumeRole({ roleArn: ROLE }, base, options))());
  assert.equal((error as ConnectorError).code, "AWS_UNAVAILABLE");
  assert.match(error.message, /ECONNREFUSED/);
});

test("aws role: any other refusal gives the words of STS", async (t) => {
  const { sts, options } = await stsKit(t);
  sts.refusal = {
    status: 400,
    code: "ValidationError",
    message: "roleSessionName failed to satisfy constraint",
  };
  const error = await rejection((await assumeRole({ roleArn: ROLE }, base, options))());
  assert.equal((error as ConnectorError).code, "CREDENTIALS_INVALID");
  assert.match(error.message, /ValidationError: roleSessionName failed/);
});

test("aws role: a failure of the base credentials is handed on as it is", async () => {
  const { options } = kit();
  const fault = new ConnectorError("no keys here", { code: "CREDENTIALS_INVALID" });
  const provider = await assumeRole({ roleArn: ROLE }, () => Promise.reject(fault), options);
  assert.equal(await rejection(provider()), fault);
});
