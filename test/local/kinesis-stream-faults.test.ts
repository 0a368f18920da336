// What faults make of a SubscribeToShard, seen byte by byte on every transport: HTTP/1.1 and HTTP/2, with and
// without TLS. And the transports themselves: one port for both protocols, ALPN, connections that break.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import type { ClientHttp2Session } from "node:http2";
import { connect as connectPlain } from "node:net";
import { test, type TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import type { Fault } from "../../src/local/mod.ts";
import { FakeClock } from "../fakes.ts";
import { certificateAuthority } from "../servers/certificates.ts";
import { startKinesisStream } from "../servers/kinesis.ts";
import { framesOf, openSession, type RawSubscription, subscribeRaw, type Wire } from "./raw-subscription.ts";
import { clientOver, subscribe } from "./subscriptions.ts";

const WIRES: readonly Wire[] = ["http/1.1", "h2c", "https", "h2"];
/** What a client sees of a broken connection: HTTP/1.1's error, HTTP/2's end of the stream. */
const BROKEN =
  /^(ECONNRESET|EPIPE|ERR_.*|reset \d+|aborted|Connection closed.*|.*unexpected.*|.*socket.*|connection .*)$/;

/** A server for this wire with one shard of three records, and a way to open raw subscriptions. */
async function over(t: TestContext, wire: Wire, clock?: FakeClock) {
  const isTls = wire === "https" || wire === "h2";
  const tls = isTls ? identity(t) : undefined;
  const { kinesis, streamName, shardIds: [shardId] } = await startKinesisStream(t, {
    clock,
    tls,
    resubscribeAfterMs: 0,
    heartbeatMs: 3_600_000,
    maxEventBytes: 1,
  });
  const arn = kinesis.registerConsumer(streamName, "reader");
  for (const data of ["a", "b", "c"]) kinesis.putRecord(streamName, { partitionKey: "k", data });
  // Shared by all subscriptions until it breaks, or takes no more.
  let shared: ClientHttp2Session | undefined;
  const session = () => {
    if (wire !== "h2c" && wire !== "h2") return undefined;
    if (!shared || shared.closed || shared.destroyed) shared = openSession(t, kinesis.url);
    return shared;
  };
  const input = { ConsumerARN: arn, ShardId: shardId, StartingPosition: { Type: "TRIM_HORIZON" } };
  return {
    kinesis,
    shardId: shardId!,
    session,
    open: () => subscribeRaw(t, kinesis.url, wire, input, session()),
    fault: (fault: Omit<Fault, "operation">) => kinesis.inject({ operation: "SubscribeToShard", ...fault }),
  };
}

function identity(t: TestContext) {
  const { certFile, keyFile } = certificateAuthority(t)
    .issue({ name: "localhost", alternativeNames: "IP:127.0.0.1" });
  return { cert: readFileSync(certFile), key: readFileSync(keyFile) };
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    assert.ok(i < 5000, "it does not come to that");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** The data of each whole event, or what else a frame is. */
function eventsOf(subscription: RawSubscription): string[] {
  return framesOf(subscription.bytes()).map(({ headers, body }) => {
    if (headers[":message-type"] === "exception") return String(headers[":exception-type"]);
    if (headers[":event-type"] === "initial-response") return "hello";
    return (body as { Records: { Data: string }[] }).Records
      .map(({ Data }) => Buffer.from(Data, "base64").toString()).join("+");
  });
}

async function whole(subscription: RawSubscription): Promise<string[]> {
  await until(() => subscription.end !== "open");
  return eventsOf(subscription);
}

for (const wire of WIRES) {
  test(`local fan-out faults: an unhurt stream is what AWS sends, over ${wire}`, async (t) => {
    const { kinesis, shardId, open } = await over(t, wire);
    const subscription = open();
    await until(() => eventsOf(subscription).length === 4);
    assert.equal(subscription.status, 200);
    assert.equal(subscription.contentType, "application/vnd.amazon.eventstream");
    const [hello, event] = framesOf(subscription.bytes());
    assert.deepEqual(hello, {
      headers: {
        ":message-type": "event",
        ":event-type": "initial-response",
        ":content-type": "application/json",
      },
      body: {},
    });
    assert.deepEqual(event!.headers, {
      ":message-type": "event",
      ":event-type": "SubscribeToShardEvent",
      ":content-type": "application/json",
    });
    assert.deepEqual(Object.keys(event!.body as object).sort(), [
      "ContinuationSequenceNumber",
      "MillisBehindLatest",
      "Records",
    ]);
    kinesis.closeShard(kinesis.subscriptions()[0]!.streamName, shardId);
    assert.deepEqual(await whole(subscription), ["hello", "a", "b", "c", ""]);
    assert.equal(subscription.end, "end");
  });

  test(`local fan-out faults: a call is refused, dropped, delayed and left hanging, over ${wire}`, async (t) => {
    const { kinesis, open, fault } = await over(t, wire);
    fault({ error: "LimitExceededException" });
    const limited = open();
    await until(() => limited.end === "end");
    assert.equal(limited.status, 400);
    assert.match(limited.bytes().toString(), /LimitExceededException/);

    fault({ hang: true });
    const hanging = open();
    await until(() => kinesis.requests.at(-1)?.outcome === "hung");
    assert.deepEqual([hanging.status, hanging.end], [undefined, "open"]);

    fault({ refuse: true });
    const refused = open();
    await until(() => refused.end !== "open");
    assert.match(refused.end, BROKEN);
    assert.equal(hanging.end, "open", "only the refused one ends");

    fault({ drop: true, applied: true });
    const dropped = open();
    await until(() => dropped.end !== "open");
    assert.match(dropped.end, BROKEN);
    assert.equal(
      hanging.end === "open",
      wire === "http/1.1" || wire === "https",
      "what shares its connection ends",
    );
    assert.deepEqual(kinesis.subscriptions(), []);
  });

  test(`local fan-out faults: a stream is cut, reset, ended and refused after an event, over ${wire}`, async (t) => {
    const { kinesis, open, fault } = await over(t, wire);
    fault({ afterEvents: 1, error: "InternalFailureException", message: "oh" });
    const failed = open();
    assert.deepEqual(await whole(failed), ["hello", "a", "InternalFailureException"]);
    assert.equal(failed.end, "end");
    assert.deepEqual(framesOf(failed.bytes()).at(-1)!.body, { message: "oh" });

    fault({ afterEvents: 2, end: true });
    const ended = open();
    assert.deepEqual(await whole(ended), ["hello", "a", "b"]);
    assert.equal(ended.end, "end");

    fault({ afterEvents: 0, hang: true });
    const stalled = open();
    await until(() => eventsOf(stalled).length === 1);

    fault({ afterEvents: 1, refuse: true });
    const reset = open();
    assert.deepEqual(await whole(reset), ["hello", "a"]);
    assert.match(reset.end, BROKEN);
    assert.deepEqual([eventsOf(stalled), stalled.end], [["hello"], "open"]);

    fault({ afterEvents: 3, drop: true });
    const cut = open();
    assert.deepEqual(await whole(cut), ["hello", "a", "b", "c"]);
    assert.match(cut.end, BROKEN);
    await until(() => kinesis.calls("SubscribeToShard").at(-1)!.outcome === "dropped");
    assert.equal(kinesis.calls("SubscribeToShard").at(-1)!.ended, "cut");
  });

  test(`local fan-out faults: frames are cut inside, torn and spoiled, over ${wire}`, async (t) => {
    const { open, fault } = await over(t, wire);
    for (const afterBytes of [0, 1, 13, 200]) {
      fault({ afterBytes, drop: true });
      const cut = open();
      await until(() => cut.end !== "open");
      assert.match(cut.end, BROKEN);
      assert.ok(cut.bytes().length <= afterBytes);
      if (wire === "http/1.1" || wire === "h2c") assert.equal(cut.bytes().length, afterBytes);
    }
    fault({ pieceBytes: 7, afterEvents: 2, end: true });
    const torn = open();
    assert.deepEqual(await whole(torn), ["hello", "a", "b"]);
    assert.ok(torn.pieces.length > 10, `${torn.pieces.length} pieces`);

    fault({ afterEvents: 1, corrupt: true });
    const spoiled = open();
    await until(() => spoiled.bytes().length > 900);
    assert.throws(() => eventsOf(spoiled), /checksum/i);
  });

  test(`local fan-out faults: a stream is held for the time told, over ${wire}`, async (t) => {
    const clock = new FakeClock();
    const { open, fault } = await over(t, wire, clock);
    fault({ afterEvents: 1, delayMs: 5000 });
    const subscription = open();
    await until(() => eventsOf(subscription).length === 2);
    await clock.advance(4999);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(eventsOf(subscription), ["hello", "a"]);
    await clock.advance(1);
    await until(() => eventsOf(subscription).length === 4);
  });

  test(`local kinesis: all connections break while it is not reachable, over ${wire}`, async (t) => {
    const { kinesis, open } = await over(t, wire);
    const subscription = open();
    await until(() => eventsOf(subscription).length === 4);
    kinesis.setReachable(false);
    await until(() => subscription.end !== "open");
    assert.match(subscription.end, BROKEN);
    const refused = subscribeRaw(t, kinesis.url, wire, {});
    await until(() => refused.end !== "open");
    kinesis.setReachable(true);
    const again = subscribeRaw(t, kinesis.url, wire, {});
    await until(() => again.status === 400);
  });
}

test("local fan-out faults: the SDK sees a spoiled checksum, an exception event and torn frames as they are", async (t) => {
  const { kinesis, streamName, shardIds: [shardId] } = await startKinesisStream(t, { resubscribeAfterMs: 0 });
  const arn = kinesis.registerConsumer(streamName, "reader");
  kinesis.putRecord(streamName, { partitionKey: "k", data: "a" });
  for (const transport of ["http/1.1", "h2c"] as const) {
    const client = clientOver(t, kinesis.url, transport);
    const after = (fault: Omit<Fault, "operation">) => {
      kinesis.inject({ operation: "SubscribeToShard", ...fault });
      return subscribe(t, client, arn, shardId!);
    };
    const spoiled = await after({ afterEvents: 0, corrupt: true });
    await assert.rejects(spoiled.next(), /checksum/i);
    const failed = await after({ afterEvents: 1, error: "KMSThrottlingException" });
    assert.deepEqual(await failed.texts(1), ["a"]);
    await assert.rejects(failed.next(), { name: "KMSThrottlingException" });
    assert.deepEqual(await (await after({ pieceBytes: 3 })).texts(1), ["a"]);
  }
});

test("local fan-out faults: faults that contradict themselves are refused", async (t) => {
  const { kinesis } = await startKinesisStream(t);
  const refuse = (fault: Fault, message: RegExp) =>
    assert.throws(() => kinesis.inject(fault), { code: "CONFIG_INVALID", message });
  const operation = "SubscribeToShard";
  refuse({ operation: "GetRecords", afterEvents: 1, drop: true }, /are for operation SubscribeToShard/);
  refuse({ operation, afterEvents: 1, afterBytes: 1, drop: true }, /exclude each other/);
  refuse({ operation, afterEvents: 1, drop: true, hang: true }, /drop and hang exclude each other/);
  refuse({ operation, corrupt: true }, /go with afterEvents/);
  refuse({ operation, afterBytes: 5, error: "X" }, /error goes with afterEvents/);
  refuse({ operation, pieceBytes: 5, drop: true }, /add afterEvents or afterBytes/);
  refuse({ operation, afterEvents: 1, drop: true, applied: true }, /applied goes with/);
  refuse({ operation, pieceBytes: 0 }, /at least 1/);
  refuse({ operation, afterEvents: 1 }, /it has no effect/);
});

test("local kinesis: GOAWAY lets open streams go on and sends new calls elsewhere", async (t) => {
  const { kinesis, open, session } = await over(t, "h2c");
  const first = session()!;
  const before = open();
  await until(() => eventsOf(before).length === 4);
  kinesis.goAway();
  await until(() => first.closed);
  assert.notEqual(session(), first);
  assert.equal(before.end, "open");
  const { streamName, shardId } = kinesis.subscriptions()[0]!;
  kinesis.putRecord(streamName, { partitionKey: "k", data: "d" });
  await until(() => eventsOf(before).length === 5);
  kinesis.closeShard(streamName, shardId);
  await until(() => before.end === "end");
});

test("local kinesis: the first bytes tell the protocol, also one by one", async (t) => {
  const { kinesis } = await startKinesisStream(t);
  const port = Number(new URL(kinesis.url).port);
  const talk = async (text: string): Promise<string> => {
    const socket = connectPlain({ port, host: "127.0.0.1", noDelay: true });
    t.after(() => socket.destroy());
    const received: Buffer[] = [];
    socket.on("data", (piece: Buffer) => received.push(piece));
    socket.on("error", () => {});
    for (const byte of Buffer.from(text)) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await until(() => received.length > 0);
    return Buffer.concat(received).toString("latin1");
  };
  assert.match(await talk("POST / HTTP/1.1\r\ncontent-length: 0\r\nhost: x\r\n\r\n"), /^HTTP\/1\.1 400 /);
  const settings = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
  assert.equal((await talk(settings)).charCodeAt(3), 4, "a SETTINGS frame answers");
});

test("local kinesis: TLS offers HTTP/2 and HTTP/1.1, and names a certificate that is none", async (t) => {
  const { kinesis } = await startKinesisStream(t, { tls: identity(t) });
  assert.match(kinesis.url, /^https:/);
  for (const protocol of ["h2", "http/1.1"]) {
    const socket = connectTls({
      port: Number(new URL(kinesis.url).port),
      host: "127.0.0.1",
      ALPNProtocols: [protocol],
      rejectUnauthorized: false,
    });
    t.after(() => socket.destroy());
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    assert.equal(socket.alpnProtocol, protocol);
  }
  await assert.rejects(startKinesisStream(t, { tls: { cert: "no", key: "no" } }), {
    code: "CONFIG_INVALID",
    message: /cannot use its certificate and key: .*Give both as PEM/,
  });
});
