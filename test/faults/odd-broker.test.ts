// A broker that answers late, or what no broker should: receipts behind several keepalive intervals, silence and then
// all at once, frames of impossible sizes, random bytes. Every message ends acknowledged exactly once, in order.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import process from "node:process";
import fc from "fast-check";
import { encodeCommand } from "../../src/pulsar/wire/frames.ts";
import { FakeClock, settle } from "../fakes.ts";
import { listeningBroker, network, ScriptedBroker } from "../pulsar/scripted-broker.ts";
import { openSink, RecordingDelivery, sendTexts, texts, until } from "../pulsar/sink-harness.ts";

const KEEP_ALIVE_MS = 30_000;
const MIB = 1024 * 1024;

/** Of `count` messages each had one receipt. */
function assertEachOnce(delivery: RecordingDelivery, count: number): void {
  assert.deepEqual(
    [...delivery.acks].sort(([a], [b]) => a - b),
    Array.from({ length: count }, (_, ordinal) => [ordinal, 1]),
  );
  assert.deepEqual(delivery.refusals, []);
}

test("faults odd broker: receipts that come ten keepalives late are waited for, nothing is sent twice", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const { sink, notes } = openSink(t, broker.url, {
    transport: network(broker),
    clock,
    keepAliveMs: KEEP_ALIVE_MS,
    batchMaxMessages: 1,
  });
  const delivery = new RecordingDelivery();
  const late: (() => void)[] = [];
  broker.script.SEND = (_, _connection, usual) => void late.push(usual);
  sendTexts(sink, delivery, texts("a", 5));
  await clock.advanceUntil(() => late.length === 5, 1000, 1);
  for (let second = 0; second < 10 * KEEP_ALIVE_MS / 1000; second++) await clock.advance(1000);
  assert.ok(broker.got("PING").length >= 9, "it was asked whether it lives, and said so");
  assert.equal(sink.pending, 5);
  for (const receipt of late) receipt();
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  assertEachOnce(delivery, 5);
  assert.deepEqual(broker.texts, texts("a", 5));
  assert.deepEqual([broker.connections.length, notes.reconnecting], [1, []]);
});

test("faults odd broker: silent past keepalive: all goes out again elsewhere, and the old receipts change nothing", async (t) => {
  const broker = new ScriptedBroker();
  const clock = new FakeClock();
  const { sink, notes } = openSink(t, broker.url, {
    transport: network(broker),
    clock,
    keepAliveMs: KEEP_ALIVE_MS,
    batchMaxMessages: 1,
  });
  const delivery = new RecordingDelivery();
  const late: (() => void)[] = [];
  broker.script.PING = () => {};
  broker.script.SEND = (_, { index }, usual) => {
    if (index === 0) late.push(usual);
    else usual();
  };
  sendTexts(sink, delivery, texts("a", 3));
  await clock.advanceUntil(() => late.length === 3, 1000, 1);
  const silentMs = await clock.advanceUntil(() => broker.connections.length > 1, 5 * KEEP_ALIVE_MS, 1000);
  assert.ok(silentMs <= 3 * KEEP_ALIVE_MS, `noticed after ${silentMs} ms`);
  sendTexts(sink, delivery, texts("b", 2), 3);
  for (const receipt of late) receipt();
  await clock.advanceUntil(() => sink.pending === 0, 1000, 1);
  assertEachOnce(delivery, 5);
  assert.deepEqual(broker.texts, [...texts("a", 3), ...texts("a", 3), ...texts("b", 2)]);
  assert.match(notes.reconnecting[0]!.error.message, /did not answer for 30000 ms/);
});

const IMPOSSIBLE: readonly [what: string, bytes: Buffer][] = [
  ["a frame of 2 GiB", Buffer.from("7fffffff00000005", "hex")],
  ["a frame of 4 GiB", Buffer.from("ffffffff00000005", "hex")],
  ["a frame one byte above the limit", sized(5 * MIB + 10 * 1024 + 1)],
  ["a frame smaller than its size field", Buffer.from("00000003000000", "hex")],
  ["a command larger than its frame", Buffer.from("00000006000000ff0812", "hex")],
  ["an empty command", Buffer.from("0000000400000000", "hex")],
  ["a command without its content", Buffer.from("00000006000000020807", "hex")],
  ["a varint that never ends", Buffer.from("0000000e0000000a08ffffffffffffffffff", "hex")],
  ["HTTP", Buffer.from("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")],
  ["a receipt for nobody", encodeCommand("SEND_RECEIPT", { producerId: 99, sequenceId: 0 })],
  [
    "an error for nobody",
    encodeCommand("SEND_ERROR", { producerId: 99, sequenceId: 0, error: 2, message: "" }),
  ],
  ["an answer that nobody asked for", encodeCommand("SUCCESS", { requestId: 4711 })],
  ["a receipt for what was never sent", encodeCommand("SEND_RECEIPT", { producerId: 0, sequenceId: 4711 })],
];

/** The beginning of a frame of this total size. */
function sized(bytes: number): Buffer {
  const start = Buffer.alloc(8);
  start.writeUInt32BE(bytes, 0);
  start.writeUInt32BE(5, 4);
  return start;
}

for (const [what, bytes] of IMPOSSIBLE) {
  test(`faults odd broker: ${what} in a receipt's place costs a connection at most`, async (t) => {
    const broker = await listeningBroker(t);
    const { sink, notes } = openSink(t, broker.url, { batchMaxMessages: 2 });
    const delivery = new RecordingDelivery();
    let isOdd = true;
    broker.script.SEND = (_, connection, usual) => {
      if (!isOdd) return usual();
      isOdd = false;
      connection.raw(bytes);
      usual();
    };
    const before = process.memoryUsage().arrayBuffers;
    sendTexts(sink, delivery, texts("a", 9));
    await until(() => sink.pending === 0, "the receipts");
    assertEachOnce(delivery, 9);
    assert.deepEqual([...new Set(broker.texts)], texts("a", 9));
    assert.deepEqual(notes.fatal, []);
    const grown = (process.memoryUsage().arrayBuffers - before) / MIB;
    assert.ok(grown < 32, `${grown} MiB of buffers for it`);
  });
}

test("faults odd broker: random bytes at random moments cost connections, never a message or its place", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 6 }),
      async (noises) => {
        const broker = new ScriptedBroker();
        const { sink, notes } = openSink(t, broker.url, {
          transport: network(broker),
          batchMaxMessages: 2,
          batchMaxDelayMs: 0,
          backoff: { firstMs: 1, maxMs: 1 },
          keepAliveMs: 20, // noise may be the beginning of a frame, which swallows what follows
        });
        const plan = [...noises];
        broker.script.SEND = (_, connection, usual) => {
          const noise = plan.shift();
          if (noise !== undefined) connection.raw(noise);
          usual();
        };
        const delivery = new RecordingDelivery();
        const count = 3 * noises.length;
        for (let ordinal = 0; ordinal < count; ordinal++) {
          sendTexts(sink, delivery, [`${ordinal}`], ordinal);
          if (ordinal % 3 === 0) await settle();
        }
        await until(() => sink.pending === 0, "the receipts");
        assertEachOnce(delivery, count);
        assert.deepEqual([...new Set(broker.texts)], Array.from({ length: count }, (_, at) => `${at}`));
        assert.deepEqual(notes.fatal, []);
        await sink.close();
      },
    ),
    { numRuns: 60 },
  );
});
