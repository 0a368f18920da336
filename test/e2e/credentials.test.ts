// Credentials on the whole road, judged by a server that checks signatures: keys, an assumed role, the default chain
// from the environment, a script; and what is said when they are wrong.

import assert from "node:assert/strict";
import { test } from "node:test";
import { brokerMissing } from "../servers/broker.ts";
import { startSts } from "../servers/sts.ts";
import { assertCopied } from "./judge.ts";
import { ended, layRoad, received, type Road, stopped } from "./kit.ts";
import { tableRecords } from "./tables.ts";

const skip = brokerMissing() ?? false;

/** Runs until everything is copied and the program has ended well; no secret is in its words. */
async function copies(road: Road, run: ReturnType<Road["run"]>, ...secrets: string[]): Promise<void> {
  const stored = road.kinesis.records(road.streamName);
  const messages = await received(run, road.topic, stored.length);
  await stopped(run);
  assertCopied(messages, stored);
  for (const secret of secrets) assert.ok(!run.stderr.includes(secret), run.stderr);
  assert.ok(road.kinesis.calls("GetRecords").every(({ status }) => status === 200));
}

/** The key pairs that signed requests to Kinesis. */
function signers(road: Road): string[] {
  const keys = road.kinesis.requests.map(({ headers }) =>
    /Credential=([^/]+)/.exec(headers["authorization"]!)![1]!
  );
  return [...new Set(keys)];
}

test("e2e credentials: an assumed role, with the base identity from the environment", { skip }, async (t) => {
  const sts = await startSts();
  t.after(() => sts.close());
  const road = await layRoad(t, {
    shards: 1,
    credentials: [{
      accessKeyId: "ASIAISSUED1",
      secretAccessKey: "issued-secret-1",
      sessionToken: "issued-session-token-1",
    }],
  });
  road.kinesis.putRecords(road.streamName, tableRecords("cars", "Name", 20));
  const file = await road.write("connector.toml", {
    awsCredentialPluginName: "org.apache.pulsar.io.kinesis.STSAssumeRoleProviderPlugin",
    awsCredentialPluginParam: JSON.stringify({
      roleArn: "arn:aws:iam::123456789012:role/reader",
      roleSessionName: "e2e-session",
      externalId: "e2e-external",
    }),
  });
  const cli = road.runWith(
    {
      AWS_ENDPOINT_URL_STS: sts.url,
      AWS_ACCESS_KEY_ID: "AKIDBASE",
      AWS_SECRET_ACCESS_KEY: "base-secret",
      AWS_EC2_METADATA_DISABLED: "true",
    },
    "run",
    file,
  );
  await copies(road, cli, "base-secret", "issued-secret-1", "issued-session-token-1");
  assert.deepEqual(
    sts.calls.map(({ roleArn, roleSessionName, externalId, accessKeyId }) => ({
      roleArn,
      roleSessionName,
      externalId,
      accessKeyId,
    })),
    [{
      roleArn: "arn:aws:iam::123456789012:role/reader",
      roleSessionName: "e2e-session",
      externalId: "e2e-external",
      accessKeyId: "AKIDBASE",
    }],
  );
  assert.deepEqual(signers(road), ["ASIAISSUED1"]);
});

test("e2e credentials: the default chain, a script, and keys that are wrong or lack a permission", {
  skip,
}, async (t) => {
  const road = await layRoad(t, {
    shards: 1,
    credentials: [
      { accessKeyId: "AKIDCHAIN", secretAccessKey: "chain-secret", sessionToken: "chain-token" },
      { accessKeyId: "AKIDSCRIPT", secretAccessKey: "script-secret" },
      { accessKeyId: "AKIDDENIED", secretAccessKey: "denied-secret", denied: ["GetRecords"] },
    ],
  });
  road.kinesis.putRecords(road.streamName, tableRecords("cars", "Name", 20));
  // No sign-in of this machine may help the default chain, or hold it up.
  const chain = {
    AWS_ACCESS_KEY_ID: "AKIDCHAIN",
    AWS_SECRET_ACCESS_KEY: "chain-secret",
    AWS_SESSION_TOKEN: "chain-token",
    AWS_EC2_METADATA_DISABLED: "true",
  };
  const byChain = await road.write("chain.toml", {
    awsCredentialPluginName: "org.apache.pulsar.io.aws.AwsDefaultProviderChainPlugin",
    awsCredentialPluginParam: "",
  });
  await copies(road, road.runWith(chain, "run", byChain), "chain-secret", "chain-token");
  assert.deepEqual(signers(road), ["AKIDCHAIN"]);

  road.kinesis.clearRequests();
  road.kinesis.putRecords(road.streamName, tableRecords("cars", "Name", 10));
  await road.script(
    "keys.mts",
    "interface Param { readonly vault: string }\n" +
      'export default ({ vault }: Param) => ({ accessKeyId: "AKIDSCRIPT", secretAccessKey: vault });\n',
  );
  const byScript = await road.write("script.toml", {
    awsCredentialPluginName: "./keys.mts",
    awsCredentialPluginParam: JSON.stringify({ vault: "script-secret" }),
  });
  await copies(road, road.run("run", byScript), "script-secret");
  assert.deepEqual(signers(road), ["AKIDSCRIPT"]);

  const refusedWith = async (keys: { accessKey: string; secretKey: string }, ...words: string[]) => {
    const file = await road.write("refused.toml", { awsCredentialPluginParam: JSON.stringify(keys) });
    const cli = road.run("run", file);
    await ended(cli, 1);
    for (const word of words) assert.ok(cli.stderr.includes(word), `${word} in ${cli.stderr}`);
    assert.ok(!cli.stderr.includes(keys.secretKey), cli.stderr);
  };
  await refusedWith(
    { accessKey: "AKIDSCRIPT", secretKey: "not-the-secret" },
    "CREDENTIALS_INVALID",
    road.streamName,
  );
  await refusedWith(
    { accessKey: "AKIDDENIED", secretKey: "denied-secret" },
    "ACCESS_DENIED",
    "kinesis:GetRecords",
  );
});
