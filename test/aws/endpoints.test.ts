// Which hosts clients would speak to: regions of all partitions, FIPS and dual-stack as the environment asks for them,
// and none of that where an endpoint is configured. No request leaves the process that is asked.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runtimeName } from "../../src/runtime.ts";

const PROGRAM = fileURLToPath(new URL("./endpoint-hosts.ts", import.meta.url));
const run = promisify(execFile);

/** The hosts of DescribeStreamSummary, GetRecords and DescribeTable, or why there is none. */
async function hosts(
  asked: { readonly region: string; readonly endpoint?: string; readonly streamArn?: string },
  env: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  const inherited = Object.entries(process.env).filter(([name]) =>
    !/^(AWS|NODE_TEST|NODE_OPTIONS)/.test(name)
  );
  const args = runtimeName === "deno"
    ? ["run", "-A", PROGRAM]
    : ["--import", import.meta.resolve("tsx"), PROGRAM];
  const { stdout } = await run(process.execPath, [...args, JSON.stringify(asked)], {
    env: { ...Object.fromEntries(inherited), ...env },
  });
  return JSON.parse(stdout) as string[];
}

test("aws endpoints: each region has its partition's hosts", async () => {
  const suffixes = {
    "eu-west-1": "amazonaws.com",
    "us-gov-west-1": "amazonaws.com",
    "cn-north-1": "amazonaws.com.cn",
  };
  for (const [region, suffix] of Object.entries(suffixes)) {
    const [describe, read, table] = await hosts({ region });
    assert.deepEqual([describe, read], [`kinesis.${region}.${suffix}`, `kinesis.${region}.${suffix}`]);
    assert.equal(table, `dynamodb.${region}.${suffix}`);
  }
});

test("aws endpoints: a stream's ARN leads to hosts of its account", async () => {
  const streamArn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
  const [describe, read] = await hosts({ region: "eu-west-1", streamArn });
  assert.equal(describe, "123456789012.control-kinesis.eu-west-1.amazonaws.com");
  assert.equal(read, "123456789012.data-kinesis.eu-west-1.amazonaws.com");
});

test("aws endpoints: FIPS and dual-stack hosts as the environment asks for them", async () => {
  const [fips] = await hosts({ region: "us-east-1" }, { AWS_USE_FIPS_ENDPOINT: "true" });
  assert.equal(fips, "kinesis-fips.us-east-1.amazonaws.com");
  const [dual] = await hosts({ region: "eu-west-1" }, { AWS_USE_DUALSTACK_ENDPOINT: "true" });
  assert.equal(dual, "kinesis.eu-west-1.api.aws");
});

test("aws endpoints: a configured one is spoken to as it is, for streams given by ARN too, and not with FIPS", async () => {
  const region = "eu-central-1";
  const hostname = "vpce-0a1b2c-d3e4.kinesis.eu-central-1.vpce.amazonaws.com";
  const asked = { region, endpoint: `https://${hostname}` };
  const streamArn = `arn:aws:kinesis:${region}:123456789012:stream/orders`;
  assert.deepEqual(await hosts(asked), [hostname, hostname, hostname]);
  assert.deepEqual(await hosts({ ...asked, streamArn }), [hostname, hostname, hostname]);
  const [refused] = await hosts(asked, { AWS_USE_FIPS_ENDPOINT: "true" });
  assert.match(refused!, /FIPS and custom endpoint are not supported/);
});
