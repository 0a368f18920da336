import { test } from "node:test";
import assert from "node:assert/strict";
import {
  anchorOf,
  isSameGeneration,
  MAX_ORDINAL,
  planGeneration,
  producerNameOf,
  type PulsarGeneration,
  sequenceIdOf,
} from "../../src/core/generation.ts";
import { type Checkpoint, sentinel } from "../../src/core/position.ts";

const at = (digits: string, sub = 0): Checkpoint => ({ sequenceNumber: digits, subSequenceNumber: sub });

const BEGUN: PulsarGeneration = {
  id: "id",
  anchor: at("10", 2),
  ordinal: 0,
  ordinalAt: sentinel("LATEST"),
  digest: "d",
  drained: false,
  refused: false,
  partitions: { out: 3 },
};
const RUNNING: PulsarGeneration = { ...BEGUN, ordinal: 5, ordinalAt: at("14", 1) };

const begin = (reason: string) => ({ type: "begin", reason });

const PLANS: readonly [
  what: string,
  stored: PulsarGeneration | "unreadable" | undefined,
  checkpoint: Checkpoint,
  digest: string,
  plan: unknown,
][] = [
  ["no generation", undefined, at("14", 1), "d", begin("first")],
  ["one that cannot be read", "unreadable", at("14", 1), "d", begin("unreadable")],
  ["its own checkpoint", RUNNING, at("14", 1), "d", {
    type: "continue",
    generation: RUNNING,
    expected: "14",
  }],
  ["no checkpoint yet", BEGUN, sentinel("LATEST"), "d", {
    type: "continue",
    generation: BEGUN,
    expected: "10",
  }],
  ["another sequence number", RUNNING, at("15", 1), "d", begin("checkpoint-moved")],
  ["another subsequence number", RUNNING, at("14", 2), "d", begin("checkpoint-moved")],
  ["another sentinel", BEGUN, sentinel("TRIM_HORIZON"), "d", begin("checkpoint-moved")],
  ["a first checkpoint of somebody else", BEGUN, at("10", 2), "d", begin("checkpoint-moved")],
  ["a refusal", { ...RUNNING, refused: true }, at("14", 1), "d", begin("refused")],
  ["changed hooks", RUNNING, at("14", 1), "other", begin("hooks-changed")],
  ["changed hooks, nothing on its way", { ...RUNNING, drained: true }, at("14", 1), "other", {
    type: "continue",
    generation: { ...RUNNING, drained: true },
    expected: "14",
  }],
];

for (const [what, stored, checkpoint, digest, plan] of PLANS) {
  test(`generation: a row with ${what} is ${(plan as { type: string }).type === "begin" ? "begun anew" : "gone on with"}`, () => {
    assert.deepEqual(planGeneration(stored, checkpoint, digest), plan);
  });
}

test("generation: the anchor counts until the first checkpoint, and not when somebody moved it", () => {
  assert.deepEqual(anchorOf(BEGUN, sentinel("LATEST")), at("10", 2));
  assert.equal(anchorOf(BEGUN, sentinel("TRIM_HORIZON")), undefined);
  assert.equal(anchorOf(RUNNING, at("14", 1)), undefined);
  assert.equal(anchorOf("unreadable", sentinel("LATEST")), undefined);
  assert.equal(anchorOf(undefined, sentinel("LATEST")), undefined);
});

test("generation: sequence ids rise over records and their messages, and end where numbers are not exact", () => {
  assert.deepEqual([sequenceIdOf(0, 0), sequenceIdOf(0, 1023), sequenceIdOf(1, 0)], [0, 1023, 1024]);
  assert.ok(Number.isSafeInteger(sequenceIdOf(MAX_ORDINAL, 1023)));
  for (const [ordinal, index] of [[MAX_ORDINAL + 1, 0], [0, 1024], [-1, 0]] as const) {
    assert.throws(() => sequenceIdOf(ordinal, index), { code: "INTERNAL" });
  }
});

test("generation: two are the same only in every value", () => {
  const others: Partial<PulsarGeneration>[] = [
    { id: "x" },
    { anchor: at("10", 3) },
    { ordinal: 1 },
    { ordinalAt: at("9") },
    { digest: "x" },
    { drained: true },
    { refused: true },
    { partitions: {} },
    { partitions: { out: 4 } },
    { partitions: { other: 3 } },
    { partitions: { out: 3, other: 3 } },
  ];
  assert.ok(isSameGeneration(BEGUN, { ...BEGUN, partitions: { out: 3 } }));
  for (const other of others) {
    assert.ok(!isSameGeneration(BEGUN, { ...BEGUN, ...other }), JSON.stringify(other));
  }
  assert.ok(!isSameGeneration(undefined, BEGUN));
  assert.ok(!isSameGeneration("unreadable", BEGUN));
});

test("generation: the producer name is that of the design", () => {
  const names = { applicationName: "app", streamName: "orders", shardId: "shardId-000000000000" };
  assert.equal(producerNameOf(names, "5af0c2d9"), "app/orders/shardId-000000000000/5af0c2d9");
});
