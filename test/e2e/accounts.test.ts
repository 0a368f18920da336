// Accounts and endpoints, judged by what each server received: who signed a request (access key, session token), for
// which region and service, and which stream it names.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { type LocalKinesisOptions, startLocalBroker, startLocalKinesis } from "../../src/local/mod.ts";
import { certificateAuthority } from "../servers/certificates.ts";
import { runCli } from "../servers/cli.ts";
import { startDynalite } from "../servers/dynalite.ts";
import { startSts } from "../servers/sts.ts";
import { randomName } from "./kit.ts";

interface Seen {
  readonly headers: IncomingHttpHeaders;
}

/** A server that notes what comes and hands it on, or answers with an empty object. */
async function notingServer(t: TestContext, target?: string): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((incoming, response) => {
    const { headers, method, url } = incoming;
    seen.push({ headers });
    if (target === undefined) {
      incoming.resume().once("end", () => response.end("{}"));
      return;
    }
    const passed = request(new URL(url ?? "/", target), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    passed.once("error", () => response.destroy());
    incoming.pipe(passed);
  });
  // As long as AWS's: after Node's five seconds a client that is slow finds its connection closed as it writes.
  server.keepAliveTimeout = 65_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

/** `key region service` of a signature, and the session token that came with it. */
function signers(seen: readonly { readonly headers: Readonly<Record<string, unknown>> }[]): string[] {
  return [
    ...new Set(seen.map(({ headers }) => {
      const [, key, region, service] =
        /Credential=([^/]+)\/\d+\/([^/]+)\/([^/]+)\//.exec(String(headers["authorization"])) ?? [];
      return `${key} ${region} ${service} ${headers["x-amz-security-token"] ?? "-"}`;
    })),
  ].sort();
}

async function road(t: TestContext, options: LocalKinesisOptions) {
  const kinesis = await startLocalKinesis(options);
  t.after(() => kinesis.close());
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const dynamo = await notingServer(t, dynalite.url);
  const cloudWatch = await notingServer(t);
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  const sts = await startSts();
  t.after(() => sts.close());
  const folder = await mkdtemp(join(tmpdir(), "kinesis-pulsar-accounts-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const streamName = randomName("stream");
  kinesis.createStream(streamName, { shards: 2 });
  kinesis.putRecords(streamName, ["a", "b", "c"].map((data) => ({ partitionKey: data, data })));
  const topic = `persistent://public/default/${randomName("topic")}`;
  const config = {
    awsCredentialPluginParam: JSON.stringify({
      accessKey: "AKIDBASE",
      secretKey: "s",
      sessionToken: "base-token",
    }),
    applicationName: randomName("app"),
    initialPositionInStream: "TRIM_HORIZON",
    checkpointInterval: 200,
    pulsar: { serviceUrl: broker.url, topic },
  };
  const run = async (more: Record<string, unknown>, env: Record<string, string> = {}) => {
    const file = join(folder, "connector.json");
    await writeFile(file, JSON.stringify({ ...config, ...more }));
    const until = new Date(Date.now() + 1000).toISOString();
    const ended = await runCli(["run", file, "--until", until], {
      env: { AWS_ENDPOINT_URL_STS: sts.url, ...env },
    });
    assert.equal(ended.code, 0, ended.stdout + ended.stderr);
    const data = broker.messages(topic).map((message) => new TextDecoder().decode(message.data)).sort();
    assert.deepEqual(data, ["a", "b", "c"]);
    return ended;
  };
  return { kinesis, streamName, dynamo, cloudWatch, sts, run };
}

const ROLE = (account: string, name: string) => `arn:aws:iam::${account}:role/${name}`;

for (const useEnhancedFanOut of [false, true]) {
  const how = useEnhancedFanOut ? "fan-out" : "polling";
  test(`accounts: stream, leases and metrics each in an account and region of their own (${how})`, async (t) => {
    const r = await road(t, { accountId: "111111111111", region: "eu-west-1", heartbeatMs: 200 });
    const streamArn = `arn:aws:kinesis:eu-west-1:111111111111:stream/${r.streamName}`;
    await r.run({
      useEnhancedFanOut,
      kinesis: {
        streamArn,
        endpoint: r.kinesis.url,
        roleArn: ROLE("111111111111", "reader"),
        externalId: "stream-7",
      },
      leases: {
        region: "eu-central-1",
        endpoint: r.dynamo.url,
        roleArn: ROLE("222222222222", "leases"),
        externalId: "leases-8",
      },
      metrics: { region: "us-west-2", endpoint: r.cloudWatch.url, roleArn: ROLE("333333333333", "metrics") },
    });
    const calls = r.sts.calls.map(({ roleArn, externalId, region, accessKeyId, sessionToken }) => [
      roleArn,
      externalId,
      region,
      accessKeyId,
      sessionToken,
    ]).sort();
    assert.deepEqual(calls, [
      [ROLE("111111111111", "reader"), "stream-7", "eu-west-1", "AKIDBASE", "base-token"],
      [ROLE("222222222222", "leases"), "leases-8", "eu-central-1", "AKIDBASE", "base-token"],
      [ROLE("333333333333", "metrics"), undefined, "us-west-2", "AKIDBASE", "base-token"],
    ]);
    const issued = (role: string) => r.sts.calls.findIndex(({ roleArn }) => roleArn.endsWith(role)) + 1;
    const signed = (role: string, region: string, service: string) => {
      const n = issued(role);
      return [`ASIAISSUED${n} ${region} ${service} issued-session-token-${n}`];
    };
    assert.deepEqual(signers(r.kinesis.requests), signed("reader", "eu-west-1", "kinesis"));
    assert.deepEqual(signers(r.dynamo.seen), signed("leases", "eu-central-1", "dynamodb"));
    assert.deepEqual(signers(r.cloudWatch.seen), signed("metrics", "us-west-2", "monitoring"));

    // Of another account's stream a name would mean one of the own account.
    const operations = new Set<string>();
    for (const { operation, input } of r.kinesis.requests) {
      operations.add(operation);
      assert.equal(input["StreamName"], undefined, operation);
      const arn = input["StreamARN"] ?? String(input["ConsumerARN"]).split("/consumer/")[0];
      assert.equal(arn, streamArn, operation);
    }
    const reading = useEnhancedFanOut
      ? ["DescribeStreamConsumer", "RegisterStreamConsumer", "SubscribeToShard"]
      : ["GetRecords", "GetShardIterator"];
    for (const operation of ["DescribeStreamSummary", "ListShards", ...reading]) {
      assert.ok(operations.has(operation), `${operation} of ${[...operations]}`);
    }
  });
}

test("accounts: a consumer of another account's stream is subscribed to by its ARN, and none is registered", async (t) => {
  const r = await road(t, { accountId: "111111111111", region: "eu-west-1", heartbeatMs: 200 });
  const consumerArn = r.kinesis.registerConsumer(r.streamName, "shared");
  await r.run({
    useEnhancedFanOut: true,
    kinesis: { consumerArn, endpoint: r.kinesis.url, roleArn: ROLE("111111111111", "reader") },
    leases: { region: "eu-central-1", endpoint: r.dynamo.url },
    metrics: { cloudwatch: "none" },
  });
  assert.equal(r.kinesis.calls("RegisterStreamConsumer").length, 0);
  const subscriptions = r.kinesis.calls("SubscribeToShard");
  assert.ok(subscriptions.length > 0);
  assert.deepEqual([...new Set(subscriptions.map(({ input }) => input["ConsumerARN"]))], [consumerArn]);
  for (const { operation, input } of r.kinesis.requests) {
    assert.equal(input["StreamName"], undefined, operation);
  }
  assert.deepEqual(signers(r.dynamo.seen), ["AKIDBASE eu-central-1 dynamodb base-token"]);
});

test("accounts: a VPC endpoint is spoken to over TLS and signed for the configured region", async (t) => {
  const authority = certificateAuthority(t);
  const { certFile, keyFile } = authority.issue({
    name: "localhost",
    alternativeNames: "DNS:localhost,IP:127.0.0.1",
  });
  const tls = { cert: await readFile(certFile, "utf8"), key: await readFile(keyFile, "utf8") };
  const r = await road(t, { tls, region: "eu-west-3" });
  const { port } = new URL(r.kinesis.url);
  await r.run({
    awsRegion: "eu-west-3",
    awsKinesisStreamName: r.streamName,
    useEnhancedFanOut: false,
    kinesis: { endpoint: `https://localhost:${port}` },
    leases: { endpoint: r.dynamo.url },
    metrics: { cloudwatch: "none" },
  }, { NODE_EXTRA_CA_CERTS: authority.caFile, DENO_CERT: authority.caFile });
  assert.deepEqual(signers(r.kinesis.requests), ["AKIDBASE eu-west-3 kinesis base-token"]);
  assert.deepEqual([...new Set(r.kinesis.requests.map(({ headers }) => headers["host"]))], [
    `localhost:${port}`,
  ]);
});
