// The decisions of effectively once without a broker: who may give which frame when.

import { test } from "node:test";
import assert from "node:assert/strict";
import { DeduplicationProofs } from "../../src/pulsar/deduplication-proof.ts";
import { newHistory, OnceGuard } from "../../src/pulsar/once-guard.ts";

const TOPIC = "persistent://tenant/ns/t-partition-3";

function guard(
  proofs: DeduplicationProofs,
  history = newHistory(),
  producerName = "p",
): OnceGuard & { resumed: number } {
  const made: OnceGuard & { resumed: number } = Object.assign(
    new OnceGuard(TOPIC, { producerName, history }, proofs, () => made.resumed++),
    { resumed: 0 },
  );
  return made;
}

test("once guard: one frame, its receipt, an opening that remembers it: then everything", () => {
  const one = guard(new DeduplicationProofs());
  assert.equal(one.opened(-1), undefined);
  assert.equal(one.mayGive(0), true);
  assert.equal(one.mayGive(1), false, "alone");
  assert.equal(one.receipt(2048, false), true, "to be opened again");
  assert.equal(one.mayGive(0), false, "not before");
  assert.equal(one.opened(2048), undefined);
  assert.equal(one.mayGive(7), true);
  assert.equal(one.receipt(4096, false), false);
  assert.equal(one.lastSequenceId, 2048);
});

test("once guard: a broker that forgot what it acknowledged ends everything, at the proof and at any later opening", () => {
  for (const lastSequenceId of [-1, 2047]) {
    const one = guard(new DeduplicationProofs());
    one.opened(-1);
    one.mayGive(0);
    one.receipt(2048, false);
    const error = one.opened(lastSequenceId)!;
    assert.equal(error.code, "DEDUPLICATION_OFF");
    assert.match(error.message, /acknowledged message 2048 of producer p, but remembers (-1|2047)/);
    assert.match(error.message, /namespaces set-deduplication tenant\/ns --enable/);
    assert.match(error.message, /topicPolicies set-deduplication persistent:\/\/tenant\/ns\/t --enable/);
  }
  const later = guard(new DeduplicationProofs());
  assert.equal(later.opened(100), undefined, "proof enough");
  assert.equal(later.receipt(101, false), false);
  assert.equal(later.opened(100)!.code, "DEDUPLICATION_OFF");
});

test("once guard: one proves, the others wait and are told; the last one to leave takes the proof along", () => {
  const proofs = new DeduplicationProofs();
  const [a, b, c] = [guard(proofs), guard(proofs, newHistory(), "q"), guard(proofs, newHistory(), "r")];
  for (const each of [a, b, c]) each.opened(-1);
  assert.deepEqual([a.mayGive(0), b.mayGive(0), c.mayGive(0)], [true, false, false]);
  a.close();
  assert.deepEqual([b.resumed, c.resumed], [1, 1]);
  assert.deepEqual([b.mayGive(0), c.mayGive(0)], [true, false]);
  b.gaveNothing(0);
  assert.deepEqual([c.resumed, c.mayGive(0)], [2, true]);
  c.receipt(5, false);
  c.opened(5);
  assert.equal(b.mayGive(3), true);
  b.close();
  c.close();
  const next = guard(proofs);
  next.opened(-1);
  assert.deepEqual([next.mayGive(0), next.mayGive(1)], [true, false]);
});

test("once guard: who had receipts before, and is not remembered, proves for itself", () => {
  const proofs = new DeduplicationProofs();
  const other = guard(proofs, newHistory(), "q");
  other.opened(9);
  const history = { queued: 7, acknowledged: 7 };
  const one = guard(proofs, history);
  assert.equal(one.opened(-1), undefined);
  assert.deepEqual([one.mayGive(0), one.mayGive(1), other.mayGive(5)], [true, false, true]);
  assert.equal(one.receipt(8, false), true);
  assert.equal(one.opened(-1)!.code, "DEDUPLICATION_OFF");
  assert.equal(history.acknowledged, 8);
});

test("once guard: ids rise, also over producers that come and go", () => {
  const history = newHistory();
  const one = guard(new DeduplicationProofs(), history);
  assert.equal(one.admit(0), undefined);
  assert.equal(one.admit(2 ** 53 - 2), undefined);
  assert.equal(one.admit(2 ** 53 - 1), undefined);
  const next = guard(new DeduplicationProofs(), history);
  for (const id of [5, 2 ** 53 - 1, 2 ** 53, NaN, undefined]) assert.equal(next.admit(id)!.code, "INTERNAL");
});
