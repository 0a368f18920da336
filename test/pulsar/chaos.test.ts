// Random faults: whatever a broker does, every message is acknowledged exactly once to its party, is in the topic
// at least once, and first occurrences are in order.

import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { SERVER_ERROR } from "../../src/pulsar/wire/server-error.ts";
import { settle } from "../fakes.ts";
import { openSink, RecordingDelivery, sendTexts, until } from "./sink-harness.ts";
import { network, ScriptedBroker } from "./scripted-broker.ts";

type Fault =
  | "cut"
  | "stored, then cut"
  | "close producer"
  | "persistence"
  | "no receipt"
  | "checksum"
  | "nothing";
const FAULTS: readonly Fault[] = [
  "cut",
  "stored, then cut",
  "close producer",
  "persistence",
  "no receipt",
  "checksum",
  "nothing",
  "nothing",
  "nothing",
];

test("pulsar chaos: at least once, in order, each acknowledged exactly once", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...FAULTS), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 12 }),
      async (faults, bursts) => {
        const broker = new ScriptedBroker();
        /** What the topic holds, by topic partition. */
        const stored: number[] = [];
        const plan = [...faults];
        const deaf = new Set<number>(); // a producer that was closed or failed takes nothing until opened again
        broker.script.PRODUCER = (_, { index }, usual) => {
          deaf.delete(index);
          usual();
        };
        broker.script.SEND = ({ producerId, sequenceId }, connection, usual) => {
          if (deaf.has(connection.index)) return;
          const store = (): void => {
            stored.push(...broker.sends.at(-1)!.messages.map(({ data }) => Number(data.toString())));
          };
          const fail = (error: number): void =>
            connection.reply("SEND_ERROR", { producerId, sequenceId, error, message: "chaos" });
          const fault = plan.shift() ?? "nothing";
          if (fault !== "nothing" && fault !== "no receipt") deaf.add(connection.index);
          switch (fault) {
            case "stored, then cut":
              store();
              return connection.cut();
            case "cut":
              return connection.cut();
            case "close producer":
              return connection.reply("CLOSE_PRODUCER", { producerId, requestId: 0 });
            case "persistence":
              return fail(SERVER_ERROR.PersistenceError);
            case "checksum":
              return fail(SERVER_ERROR.ChecksumError);
            case "no receipt":
              store();
              if (plan.length === 0) usual(); // else the next one shows the gap
              return;
            case "nothing":
              store();
              usual();
          }
        };
        const { sink, notes } = openSink(t, broker.url, {
          transport: network(broker),
          batchMaxMessages: 3,
          batchMaxDelayMs: 0,
          backoff: { firstMs: 1, maxMs: 1 },
        });
        const [a, b] = [new RecordingDelivery(), new RecordingDelivery()];
        let count = 0;
        for (const burst of bursts) {
          for (let i = 0; i < burst; i++) sendTexts(sink, count % 5 < 3 ? a : b, [`${count}`], count++);
          await settle();
        }
        // a lost last receipt shows only when something follows
        for (let tries = 0; sink.pending > 0 && tries < 100; tries++) {
          try {
            await until(() => sink.pending === 0, "the receipts", 50);
          } catch {
            sendTexts(sink, a, [`${count}`], count++);
          }
        }
        assert.equal(sink.pending, 0);
        const acks = [...a.acks, ...b.acks].sort(([x], [y]) => x - y);
        assert.deepEqual(acks, Array.from({ length: count }, (_, ordinal) => [ordinal, 1]));
        assert.deepEqual([...new Set(stored)], Array.from({ length: count }, (_, ordinal) => ordinal));
        assert.equal(notes.fatal.length, 0);
        await sink.close();
      },
    ),
    { numRuns: 60 },
  );
});
