// Effectively once, whatever happens: any sequence of kills, stops, changed hooks, moved checkpoints, trimmed records,
// grown topics. Duplicates at worst and never loss; and no duplicate where nobody interfered.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { RawRecord } from "../../src/core/record.ts";
import type { Hooks } from "../../src/hooks/types.ts";
import { newAggregate } from "../core/aggregate-record.ts";
import { record } from "./kit.ts";
import { DEAD, edit, type OnceWorld, onceWorld, row, start } from "./once-kit.ts";

/** How many messages a version of the hook makes of a record: 0 to 3, without a pattern. */
function count(version: number, text: string): number {
  let hash = version * 31 + 7;
  for (const character of text) hash = (hash * 33 + character.charCodeAt(0)) % 1009;
  return [1, 0, 1, 2, 0, 3, 1, 0][hash % 8]!;
}

const made = (version: number, text: string): string[] =>
  Array.from({ length: count(version, text) }, (_, index) => `${text} v${version} ${index}`);

/** @param stuckAt number of a record at which it never comes to an end */
const hook = (version: number, stuckAt = 0): Hooks => ({
  onRecord(record) {
    if (record.sequenceNumber === String(stuckAt)) return new Promise(() => {});
    const { key } = record.message;
    return made(version, record.text()).map((data) => ({ data, ...(key === undefined ? {} : { key }) }));
  },
});

type Step =
  | { readonly type: "run"; readonly reach: number; readonly receipts: number; readonly seconds: number }
  | { readonly type: "stop"; readonly stuckAt: number }
  | { readonly type: "limit"; readonly of: readonly number[] }
  | { readonly type: "put"; readonly sizes: readonly number[] }
  | { readonly type: "hooks" }
  | { readonly type: "grow" }
  | { readonly type: "trim"; readonly by: number }
  | { readonly type: "move"; readonly by: number }
  | { readonly type: "delete" };

const quiet: fc.Arbitrary<Step>[] = [
  fc.record({
    type: fc.constant("run" as const),
    reach: fc.integer({ min: 0, max: 12 }),
    receipts: fc.integer({ min: 0, max: 12 }),
    seconds: fc.integer({ min: 0, max: 2 }),
  }),
  fc.record({ type: fc.constant("stop" as const), stuckAt: fc.integer({ min: 0, max: 30 }) }),
  fc.record({
    type: fc.constant("put" as const),
    sizes: fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 6 }),
  }),
  fc.record({ type: fc.constant("grow" as const) }),
];
const meddling: fc.Arbitrary<Step>[] = [
  ...quiet,
  ...quiet,
  fc.record({ type: fc.constant("hooks" as const) }),
  fc.record({ type: fc.constant("limit" as const), of: fc.array(fc.nat({ max: 12 }), { maxLength: 3 }) }),
  fc.record({ type: fc.constant("trim" as const), by: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ type: fc.constant("move" as const), by: fc.integer({ min: -6, max: 6 }) }),
  fc.record({ type: fc.constant("delete" as const) }),
];

/** The user records of what is stored in the stream, with their positions. */
function userRecords(records: readonly RawRecord[]): { text: string; at: [number, number] }[] {
  return records.flatMap(({ data, sequenceNumber, partitionKey }) => {
    const number = Number(sequenceNumber);
    if (partitionKey !== "a") {
      return [{ text: Buffer.from(data).toString(), at: [number, 0] as [number, number] }];
    }
    const size = Number(/\d+$/.exec(AGGREGATES.get(data)!)![0]);
    return Array.from(
      { length: size },
      (_, sub) => ({ text: `${number}.${sub}`, at: [number, sub] as [number, number] }),
    );
  });
}

const AGGREGATES = new WeakMap<Uint8Array, string>();

function put(world: OnceWorld, sizes: readonly number[]): void {
  for (const size of sizes) {
    const number = world.stream.records.length + 1;
    if (size === 1) {
      world.stream.put(record(number));
      continue;
    }
    const texts = Array.from({ length: size }, (_, sub) => `${number}.${sub}`);
    const aggregate = newAggregate(String(number), texts);
    AGGREGATES.set(aggregate.data, `of ${size}`);
    world.stream.put(aggregate);
  }
}

/** Plays the steps; after each checkpoint all that it passed must be in the topic. */
async function play(
  steps: readonly Step[],
  deadLetterTopic?: string,
): Promise<{ world: OnceWorld; risky: number }> {
  const world = onceWorld();
  world.stream.pageSize = 3;
  let version = 1;
  let partitions = 2;
  let risky = 0;
  /** Numbers of records that are too large now. */
  let tooLarge: readonly number[] = [];
  world.broker.partitions.set("out", partitions);
  put(world, [1, 3, 1, 2]);
  const run = async (options: { reach?: number; receipts?: number; stuckAt?: number }) => {
    const before = row(world)?.["checkpoint"]?.S ?? "TRIM_HORIZON";
    const subBefore = Number(row(world)?.["checkpointSubSequenceNumber"]?.N ?? 0);
    const now = await start(world, {
      ...options,
      digest: `v${version}`,
      hooks: hook(version, options.stuckAt),
      deadLetterTopic,
      refuses: (text) => tooLarge.includes(Number(/\d+/.exec(text)![0])),
    });
    let passed: [number, number] = /^\d+$/.test(before) ? [Number(before), subBefore] : [0, 0];
    const first = Number(world.stream.records[world.stream.first]?.sequenceNumber ?? Infinity);
    const check = () => {
      const to: [number, number] = [
        Number(row(world)["checkpoint"]!.S!),
        Number(row(world)["checkpointSubSequenceNumber"]!.N),
      ];
      if (Number.isNaN(to[0])) return;
      const there = new Set(world.broker.texts());
      const dead = new Set(world.broker.texts(DEAD));
      for (const { text, at } of userRecords(world.stream.records)) {
        if (at[0] < first || compare(at, passed) <= 0 || compare(at, to) > 0) continue;
        if (dead.has(text)) continue;
        for (const message of made(version, text)) assert.ok(there.has(message), `${message} is lost`);
      }
      passed = to;
    };
    now.connector.on("checkpoint", check);
    return { ...now, check };
  };
  for (const step of steps) {
    switch (step.type) {
      case "run": {
        const killed = await run(step);
        await killed.clock.advance(step.seconds * 1_000);
        killed.kill();
        risky += riskyIn(killed.log.messages("warn"));
        break;
      }
      case "stop": {
        const stopped = await run(step);
        await stopped.stop().catch(refusal);
        stopped.check();
        risky += riskyIn(stopped.log.messages("warn"));
        break;
      }
      case "put":
        put(world, step.sizes);
        break;
      case "limit":
        tooLarge = step.of;
        break;
      case "hooks":
        version++;
        break;
      case "grow":
        world.broker.partitions.set("out", ++partitions);
        break;
      case "trim":
        world.stream.first = Math.min(world.stream.first + step.by, world.stream.records.length);
        break;
      case "move": {
        const at = Number(row(world)?.["checkpoint"]?.S ?? NaN);
        const to = at + step.by;
        if (to >= 1 && to <= world.stream.records.length && world.table.items.has("shard-0")) {
          edit(world, { checkpoint: { S: String(to) }, checkpointSubSequenceNumber: { N: "0" } });
        }
        break;
      }
      case "delete":
        if (world.table.items.delete("shard-0")) risky++;
    }
  }
  tooLarge = [];
  const last = await run({});
  await last.stop();
  last.check();
  risky += riskyIn(last.log.messages("warn"));
  const end = world.stream.records.at(-1)!.sequenceNumber;
  if (world.stream.first < world.stream.records.length) assert.equal(row(world)["checkpoint"]?.S, end);
  return { world, risky };
}

function compare(a: readonly [number, number], b: readonly [number, number]): number {
  return a[0] - b[0] || a[1] - b[1];
}

/** What ends a connector without a topic for dead letters. */
function refusal(error: unknown): void {
  if ((error as { code?: string }).code !== "MESSAGE_TOO_LARGE") throw error;
}

function riskyIn(warnings: readonly string[]): number {
  return warnings.filter((line) => line.includes("new producer name")).length;
}

test("G4 effectively once: any kills and stops, with a hook that drops and multiplies, leave each message once, in order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(...quiet), { maxLength: 14 }), async (steps) => {
      const { world, risky } = await play(steps);
      assert.equal(risky, 0);
      const wanted = userRecords(world.stream.records).flatMap(({ text }) => made(1, text));
      assert.deepEqual([...world.broker.texts()].sort(), [...wanted].sort());
      const order = new Map(wanted.map((text, index) => [text, index]));
      for (const texts of world.broker.topics.values()) {
        const indexes = texts.map((text) => order.get(text)!);
        assert.deepEqual(indexes, [...indexes].sort((a, b) => a - b));
      }
    }),
    { numRuns: 60 },
  );
});

test("G4 effectively once: whatever is changed, refused, moved, trimmed or deleted in between loses nothing", async () => {
  const plays = fc.tuple(
    fc.array(fc.oneof(...meddling), { maxLength: 18 }),
    fc.constantFrom(DEAD, undefined),
  );
  await fc.assert(
    fc.asyncProperty(plays, async ([steps, deadLetterTopic]) => {
      const { world, risky } = await play(steps, deadLetterTopic);
      const texts = world.broker.texts();
      if (risky === 0) assert.equal(new Set(texts).size, texts.length);
    }),
    { numRuns: 120 },
  );
});
