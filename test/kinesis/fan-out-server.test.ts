// The fan-out reader against servers that speak Kinesis' protocol: ours over HTTP/1.1, HTTP/2 and TLS, which can fail on
// purpose, and kinesis-local as a second opinion.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { CreateStreamCommand, DescribeStreamSummaryCommand } from "@aws-sdk/client-kinesis";
import { ConnectorError } from "../../src/core/errors.ts";
import type { ReadGrant, ReadShardOptions, ShardReader } from "../../src/kinesis/source.ts";
import type { LocalKinesisOptions } from "../../src/local/mod.ts";
import { certificateAuthority } from "../servers/certificates.ts";
import { kinesisClient, putAll, randomName, startKinesisStream } from "../servers/kinesis.ts";
import { startKinesisLocal } from "../servers/kinesis-local.ts";
import { openFanOut, type Transport } from "./fan-out-kit.ts";
import { Grants, openSource, readFrom, readUntil, textsOf } from "./kit.ts";

const TRIM_HORIZON = { type: "TRIM_HORIZON" } as const;
const TRANSPORTS = ["HTTP/1.1", "HTTP/2", "TLS"] as const;
/** The service's five seconds, for those who cannot wait. */
const SOON = { resubscribeAfterMs: 20 } as const;

type Shards = { readonly shards?: number };

/** A server with one stream, and how it is reached. */
async function start(
  t: TestContext,
  how: typeof TRANSPORTS[number],
  options: LocalKinesisOptions & Shards = {},
) {
  if (how !== "TLS") {
    const { kinesis, streamName, shardIds } = await startKinesisStream(t, { ...SOON, ...options });
    const transport: Transport = how === "HTTP/2" ? "http2" : "http1";
    return { kinesis, streamName, shardIds, url: kinesis.url, transport };
  }
  const authority = certificateAuthority(t);
  const files = authority.issue({ name: "localhost", alternativeNames: "IP:127.0.0.1" });
  const tls = { cert: readFileSync(files.certFile, "utf8"), key: readFileSync(files.keyFile, "utf8") };
  const { startLocalKinesis } = await import("../../src/local/mod.ts");
  const kinesis = await startLocalKinesis({ ...SOON, ...options, tls });
  t.after(() => kinesis.close());
  const streamName = randomName("stream");
  kinesis.createStream(streamName, { shards: options.shards ?? 1 });
  const transport: Transport = { ca: readFileSync(authority.caFile, "utf8") };
  return { kinesis, streamName, shardIds: kinesis.openShardIds(streamName), url: kinesis.url, transport };
}

function texts(count: number, from = 0): { data: string; partitionKey: string }[] {
  return Array.from({ length: count }, (_, i) => ({ data: String(from + i), partitionKey: `k${i}` }));
}

async function failureOf(reader: ShardReader): Promise<ConnectorError> {
  const error = await readUntil(reader, () => false).then(
    () => assert.fail("it ended"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ConnectorError, String(error));
  return error;
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `not within 30 s: ${condition}`);
    await delay(5);
  }
}

for (const how of TRANSPORTS) {
  test(`fan-out over ${how}: reads a shard from its beginning to its split, bytes and keys as they were put`, async (t) => {
    const { kinesis, streamName, shardIds, ...server } = await start(t, how);
    const put = [1, 50, 1000, 100_000, 700_000].map((size) => ({
      data: randomBytes(size),
      partitionKey: `ключ-"${size}"\n`,
    }));
    kinesis.putRecords(streamName, put);
    kinesis.setEncryption(streamName, "KMS");
    kinesis.putRecords(streamName, put);
    const { source, log } = await openFanOut(t, { url: server.url, streamName }, {
      transport: server.transport,
    });
    const grants = new Grants();
    let connected = 0;
    const options = readFrom(shardIds[0]!, TRIM_HORIZON, { onConnected: () => connected++ });
    const reader = source.open(options);
    const first = await readUntil(reader, (all) => all.length === 10, grants);
    const last = { data: "last", partitionKey: "k" };
    kinesis.putRecord(streamName, last);
    const children = kinesis.splitShard(streamName, shardIds[0]!);
    const rest = await readUntil(reader, () => false, grants);
    const pages = [...first.pages, ...rest.pages];
    const records = pages.flatMap((page) => page.records);
    const stored = kinesis.records(streamName, shardIds[0]!);
    assert.deepEqual(
      records.map((record) => Buffer.from(record.data).toString("hex")),
      [...put, ...put, last].map(({ data }) => Buffer.from(data).toString("hex")),
    );
    assert.deepEqual(
      records.map((r) => [r.sequenceNumber, r.approximateArrivalTimestamp, r.encryptionType, r.partitionKey]),
      stored.map((r) => [r.sequenceNumber, r.approximateArrivalTimestamp, r.encryptionType, r.partitionKey]),
    );
    assert.deepEqual(pages.at(-1)!.shardEnd!.childShards.map(({ shardId }) => shardId), children);
    assert.equal(grants.held, pages.length);
    assert.equal(connected, 1);
    assert.equal(kinesis.calls("SubscribeToShard").length, 1);
    assert.deepEqual(log.messages("warn"), []);
  });

  test(`fan-out over ${how}: no fault of the way loses, repeats or reorders a record (KCL scenario 25)`, async (t) => {
    const { kinesis, streamName, shardIds, ...server } = await start(t, how, {
      maxEventBytes: 60,
      heartbeatMs: 30,
      subscriptionLifeMs: 60,
    });
    const faults = [
      { error: "InternalFailure" },
      { error: "LimitExceededException" },
      { drop: true },
      { afterBytes: 5, drop: true },
      { afterBytes: 200, drop: true },
      { afterBytes: 1_000, refuse: true },
      { afterEvents: 2, corrupt: true },
      { afterEvents: 1, error: "InternalFailureException" },
      { afterEvents: 1, error: "ResourceInUseException" },
      { afterEvents: 0, end: true },
      { afterEvents: 2, end: true },
      { pieceBytes: 7, afterEvents: 3, drop: true },
      { afterBytes: 777, hang: true },
    ];
    // Every second subscription is hit; the others end after a moment, so that failures in a row do not add up.
    for (const [index, fault] of faults.entries()) {
      kinesis.inject({ operation: "SubscribeToShard", nth: 1 + 2 * index, ...fault });
    }
    kinesis.putRecords(streamName, texts(100));
    const { source } = await openFanOut(t, { url: server.url, streamName }, {
      transport: server.transport,
      silenceMs: 300,
      ...SOON,
    });
    const grants = new Grants();
    const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON));
    const first = await readUntil(reader, (all) => all.length >= 100, grants);
    const reading = readUntil(reader, (all) => all.length >= 100, grants);
    for (let from = 100; from < 200; from += 5) {
      await until(() => kinesis.calls("SubscribeToShard").length > from / 5 - 20);
      kinesis.putRecords(streamName, texts(5, from));
    }
    const rest = await reading;
    assert.deepEqual([...first.data, ...rest.data], texts(200).map((record) => record.data));
    assert.equal(grants.held, first.pages.length + rest.pages.length);
    assert.ok(kinesis.calls("SubscribeToShard").length > faults.length - 2);
  });

  test(`fan-out over ${how}: subscriptions that live for a moment are renewed without loss or repetition`, async (t) => {
    const { kinesis, streamName, shardIds, ...server } = await start(t, how, {
      subscriptionLifeMs: 60,
      maxEventBytes: 100,
      heartbeatMs: 20,
    });
    const { source, log } = await openFanOut(t, { url: server.url, streamName }, {
      transport: server.transport,
      ...SOON,
    });
    const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON));
    const reading = readUntil(reader, (all) => all.length >= 300);
    for (let from = 0; from < 300; from += 5) {
      kinesis.putRecords(streamName, texts(5, from));
      await delay(10);
    }
    assert.deepEqual((await reading).data, texts(300).map((record) => record.data));
    assert.ok(kinesis.calls("SubscribeToShard").length >= 4);
    assert.deepEqual(log.messages("warn"), []);
  });

  test(`fan-out over ${how}: an abort ends the subscription at the server, and nothing is subscribed after it`, async (t) => {
    const { kinesis, streamName, shardIds, ...server } = await start(t, how);
    const { source } = await openFanOut(t, { url: server.url, streamName }, { transport: server.transport });
    const stop = new AbortController();
    const grants = new Grants();
    const reader = source.open(readFrom(shardIds[0]!, { type: "LATEST" }, { signal: stop.signal }));
    const next = readUntil(reader, () => false, grants);
    await until(() => kinesis.subscriptions().length === 1);
    stop.abort();
    const { pages } = await next;
    assert.equal(grants.held, pages.length);
    await until(() => kinesis.subscriptions().length === 0);
    assert.equal(kinesis.calls("SubscribeToShard").length, 1);
  });
}

test("fan-out: each start position begins where it says", async (t) => {
  const { kinesis, streamName, shardIds, url, transport } = await start(t, "HTTP/2", {
    resubscribeAfterMs: 0,
  });
  const now = Date.now();
  const put = [3000, 2000, 1000].map((age, index) =>
    kinesis.putRecord(streamName, { data: String(index), partitionKey: "k", arrivedAt: now - age })
  );
  const { source } = await openFanOut(t, { url, streamName }, { transport });
  const read = async (from: ReadShardOptions["start"], count: number) => {
    const stop = new AbortController();
    const reader = source.open(readFrom(shardIds[0]!, from, { signal: stop.signal }));
    const { data } = await readUntil(reader, (all) => all.length >= count);
    stop.abort();
    return data;
  };
  assert.deepEqual(await read(TRIM_HORIZON, 3), ["0", "1", "2"]);
  assert.deepEqual(await read({ type: "AT_TIMESTAMP", timestamp: now - 2000 }, 2), ["1", "2"]);
  const second = put[1]!.sequenceNumber;
  assert.deepEqual(await read({ type: "AT_SEQUENCE_NUMBER", sequenceNumber: second }, 2), ["1", "2"]);
  assert.deepEqual(await read({ type: "AFTER_SEQUENCE_NUMBER", sequenceNumber: second }, 1), ["2"]);
  const latest = read({ type: "LATEST" }, 1);
  await until(() =>
    kinesis.subscriptions().some(({ startingPosition }) => startingPosition.Type === "LATEST")
  );
  kinesis.putRecord(streamName, { data: "new", partitionKey: "k" });
  assert.deepEqual(await latest, ["new"]);
});

test("fan-out: a checkpoint of another shard is a foreign checkpoint", async (t) => {
  const { kinesis, streamName, shardIds, url } = await start(t, "HTTP/1.1", { shards: 2 });
  const there = kinesis.putRecord(streamName, { data: "x", partitionKey: "k", shardId: shardIds[1]! });
  const { source } = await openFanOut(t, { url, streamName });
  const from = { type: "AT_SEQUENCE_NUMBER", sequenceNumber: there.sequenceNumber } as const;
  const error = await failureOf(source.open(readFrom(shardIds[0]!, from)));
  assert.equal(error.code, "FOREIGN_CHECKPOINT");
  assert.match(
    error.message,
    new RegExp(`checkpoint ${there.sequenceNumber} is not one of shard ${shardIds[0]}`),
  );
});

test("fan-out: who takes over is not cut off by the one that lost its lease", async (t) => {
  const { kinesis, streamName, shardIds, url, transport } = await start(t, "HTTP/2", { heartbeatMs: 20 });
  const lost = new AbortController();
  const open = async (signal: AbortSignal) => {
    const { source, log } = await openFanOut(t, { url, streamName }, { transport, ...SOON });
    return { reader: source.open(readFrom(shardIds[0]!, TRIM_HORIZON, { signal })), log };
  };
  const old = await open(lost.signal);
  const oldReads = readUntil(old.reader, () => false);
  await until(() => kinesis.subscriptions().length === 1);
  await delay(30);
  const owner = await open(new AbortController().signal);
  const ownerReads = readUntil(owner.reader, (all) => all.length >= 3);
  await until(() => kinesis.calls("SubscribeToShard").length >= 2);
  lost.abort(); // as the renewal of the lease tells it
  await oldReads;
  const calls = kinesis.calls("SubscribeToShard").length;
  for (let index = 0; index < 3; index++) {
    kinesis.putRecord(streamName, texts(1, index)[0]!);
    await delay(30);
  }
  assert.deepEqual((await ownerReads).data, ["0", "1", "2"]);
  assert.ok(
    kinesis.calls("SubscribeToShard").length <= calls + 2,
    "only the owner, which was cut off once at most",
  );
  assert.deepEqual(old.log.messages("warn"), []);
});

test("fan-out: a shard that waits for its grant holds back no other of its connection", async (t) => {
  const { kinesis, streamName, shardIds, url, transport } = await start(t, "HTTP/2", { shards: 2 });
  kinesis.fill(streamName, { records: 100, bytes: 100_000 });
  const { source } = await openFanOut(t, { url, streamName }, { transport });
  let give: (grant: ReadGrant | undefined) => void = () => {};
  const held = source.open(readFrom(shardIds[0]!, TRIM_HORIZON));
  const next = held.next(() => new Promise((resolve) => give = resolve));
  await until(() => kinesis.subscriptions({ shardId: shardIds[0]! })[0]?.records !== 0);
  const other = await readUntil(
    source.open(readFrom(shardIds[1]!, TRIM_HORIZON)),
    (all) => all.length >= 100,
  );
  assert.equal(other.data.length, 100);
  const [stalled] = kinesis.subscriptions({ shardId: shardIds[0]! });
  assert.ok(stalled!.records < 40, `${stalled!.records} records were sent to one that does not read`);
  const grants = new Grants();
  give(await grants.admit(new AbortController().signal));
  const count = (await next)!.page.records.length;
  const rest = await readUntil(held, (all) => all.length >= 100 - count, grants);
  assert.equal(count + rest.data.length, 100);
});

test("fan-out: forty shards are read side by side over two connections", async (t) => {
  const { kinesis, streamName, shardIds, url, transport } = await start(t, "HTTP/2", { shards: 40 });
  kinesis.fill(streamName, { records: 20, bytes: 10 });
  const { source } = await openFanOut(t, { url, streamName }, { transport });
  const counts = await Promise.all(shardIds.map(async (shardId) => {
    const reader = source.open(readFrom(shardId, TRIM_HORIZON));
    return (await readUntil(reader, (all) => all.length >= 20)).data.length;
  }));
  assert.ok(counts.every((count) => count === 20));
  assert.equal(kinesis.subscriptions().length, 40);
});

test("fan-out: a stream deleted or made again while it is read stops the reader and ends no shard", async (t) => {
  for (const again of [false, true]) {
    const { kinesis, streamName, shardIds, url } = await start(t, "HTTP/1.1", { heartbeatMs: 20 });
    kinesis.putRecords(streamName, texts(3));
    const { source } = await openFanOut(t, { url, streamName }, SOON);
    const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON));
    await readUntil(reader, (all) => all.length === 3);
    kinesis.deleteStream(streamName);
    if (again) {
      await delay(1100); // creation times are in seconds
      kinesis.createStream(streamName, { shards: 1 });
    }
    const error = await failureOf(reader);
    assert.equal(error.code, "STREAM_GONE", error.message);
  }
});

test("fan-out: a consumer that is deregistered meanwhile is registered again, and nothing is missed", async (t) => {
  const { kinesis, streamName, shardIds, url } = await start(t, "HTTP/1.1", { heartbeatMs: 20 });
  kinesis.putRecords(streamName, texts(3));
  const { source, log } = await openFanOut(t, { url, streamName }, SOON);
  const reader = source.open(readFrom(shardIds[0]!, TRIM_HORIZON));
  await readUntil(reader, (all) => all.length === 3);
  const { consumerArn } = kinesis.subscriptions()[0]!;
  const next = readUntil(reader, (all) => all.length === 2);
  kinesis.deregisterConsumer(consumerArn);
  kinesis.putRecords(streamName, texts(2, 3));
  assert.deepEqual((await next).data, ["3", "4"]);
  assert.ok(log.messages("warn").some((line) => line.includes("was registered again")));
});

test("fan-out: requests are signed for the way they go; the missing right to subscribe names the action", async (t) => {
  const credentials = { accessKeyId: "test", secretAccessKey: "test" };
  const { kinesis, streamName, shardIds, url, transport } = await start(t, "HTTP/2", {
    credentials: [credentials],
    shards: 2,
  });
  const { source } = await openFanOut(t, { url, streamName }, { transport });
  kinesis.putRecord(streamName, { data: "x", partitionKey: "k", shardId: shardIds[1]! });
  await readUntil(source.open(readFrom(shardIds[1]!, TRIM_HORIZON)), (all) => all.length === 1);
  kinesis.setCredentials([{ ...credentials, denied: ["SubscribeToShard"] }]);
  const error = await failureOf(source.open(readFrom(shardIds[0]!, TRIM_HORIZON)));
  assert.equal(error.code, "ACCESS_DENIED");
  assert.match(
    error.message,
    /lack the permission kinesis:SubscribeToShard on consumer "arn:.*useEnhancedFanOut = false/,
  );
});

test("fan-out: what was read by one way goes on by the other from the same number, and back", async (t) => {
  const { kinesis, streamName, shardIds, url, transport } = await start(t, "HTTP/2", {
    resubscribeAfterMs: 0,
  });
  kinesis.putRecords(streamName, texts(30));
  const server = { url, streamName };
  const { source: fanOut } = await openFanOut(t, server, { transport });
  const { source: polling } = await openSource(t, server);
  const seen: string[] = [];
  let from: ReadShardOptions["start"] = TRIM_HORIZON;
  for (const source of [fanOut, polling, fanOut, polling, fanOut]) {
    const stop = new AbortController();
    const reader = source.open(readFrom(shardIds[0]!, from, { signal: stop.signal }));
    const { page } = (await reader.next(new Grants(10).admit))!;
    stop.abort();
    const part = page.records.slice(0, 10); // what is finished and checkpointed; the rest is read again
    const skip = from === TRIM_HORIZON ? 0 : 1; // AT the checkpoint: its record comes once more
    seen.push(...textsOf({ ...page, records: part.slice(skip) }));
    from = { type: "AT_SEQUENCE_NUMBER", sequenceNumber: part.at(-1)!.sequenceNumber };
  }
  assert.deepEqual(seen, texts(30).map(({ data }) => data).slice(0, seen.length));
  assert.equal(seen.length, 30);
});

test("fan-out: reads kinesis-local, and goes on there from a checkpoint", async (t) => {
  const server = await startKinesisLocal();
  t.after(() => server.stop());
  const client = kinesisClient(t, server.url);
  const streamName = randomName("fan-out");
  await client.send(new CreateStreamCommand({ StreamName: streamName, ShardCount: 1 }));
  for (;;) {
    const answer = await client.send(new DescribeStreamSummaryCommand({ StreamName: streamName }));
    if (answer.StreamDescriptionSummary?.StreamStatus === "ACTIVE") break;
    await delay(20);
  }
  const put = await putAll(client, streamName, texts(30));
  const { shardId } = put[0]!;
  const { source } = await openFanOut(t, { url: server.url, streamName }, { resubscribeAfterMs: 1_000 });
  const stop = new AbortController();
  const reader = source.open(readFrom(shardId, TRIM_HORIZON, { signal: stop.signal }));
  const { data } = await readUntil(reader, (all) => all.length >= 30);
  assert.deepEqual(data, texts(30).map((record) => record.data));
  await putAll(client, streamName, texts(5, 30));
  assert.deepEqual((await readUntil(reader, (all) => all.length >= 5)).data, ["30", "31", "32", "33", "34"]);
  stop.abort();
  const from = { type: "AT_SEQUENCE_NUMBER", sequenceNumber: put[27]!.sequenceNumber } as const;
  const again = source.open(readFrom(shardId, from)); // its subscription is held for some seconds yet
  assert.deepEqual((await readUntil(again, (all) => all.length >= 8)).data.slice(0, 4), [
    "27",
    "28",
    "29",
    "30",
  ]);
});
