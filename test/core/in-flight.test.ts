import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { InFlight } from "../../src/core/in-flight.ts";

test("in-flight: the finished position never passes an unfinished record (KCL scenario 22)", () => {
  const inFlight = new InFlight(() => {});
  for (let i = 0; i < 4; i++) inFlight.add(String(100 + i), 0, 10, 1);
  assert.equal(inFlight.finished, undefined);
  inFlight.acknowledged(1, 2);
  assert.equal(inFlight.finished, undefined);
  inFlight.acknowledged(0, 0);
  assert.deepEqual(inFlight.finished, { sequenceNumber: "102", subSequenceNumber: 0 });
  assert.equal(inFlight.size, 1);
});

test("in-flight: a record with several messages is finished by its last acknowledgement", () => {
  const inFlight = new InFlight(() => {});
  inFlight.add("7", 3, 10, 3);
  inFlight.acknowledged(0, 0);
  inFlight.acknowledged(0, 0);
  assert.equal(inFlight.finished, undefined);
  inFlight.acknowledged(0, 0);
  assert.deepEqual(inFlight.finished, { sequenceNumber: "7", subSequenceNumber: 3 });
});

test("in-flight: a dropped record is finished at once, but waits for those before it", () => {
  let released = 0;
  const inFlight = new InFlight((bytes) => released += bytes);
  inFlight.add("1", 0, 5, 1);
  inFlight.add("2", 0, 7, 0);
  assert.equal(released, 7);
  assert.ok(!inFlight.finished);
  inFlight.acknowledged(0, 0);
  assert.deepEqual(inFlight.finished, { sequenceNumber: "2", subSequenceNumber: 0 });
  assert.deepEqual(inFlight.takeCounts(), { records: 2, bytes: 12 });
  assert.deepEqual(inFlight.takeCounts(), { records: 0, bytes: 0 });
});

test("in-flight: abandoning gives the whole budget back and late acknowledgements change nothing", () => {
  let released = 0;
  const inFlight = new InFlight((bytes) => released += bytes);
  for (let i = 0; i < 3; i++) inFlight.add(String(i), 0, 100, 1);
  inFlight.acknowledged(1, 1);
  inFlight.abandon();
  assert.equal(released, 300);
  inFlight.acknowledged(0, 2);
  assert.equal(released, 300);
  assert.equal(inFlight.finished, undefined);
  assert.equal(inFlight.size, 0);
});

test("in-flight: any order of acknowledgements gives what a plain model gives", () => {
  const record = fc.record({
    messages: fc.integer({ min: 0, max: 3 }),
    bytes: fc.integer({ min: 0, max: 9 }),
  });
  fc.assert(
    fc.property(fc.array(record, { maxLength: 700 }), fc.integer(), (records, seed) => {
      let released = 0;
      const inFlight = new InFlight((bytes) => released += bytes);
      const left = records.map((r) => r.messages);
      const due: number[] = [];
      let random = seed >>> 0;
      const next = (n: number) => (random = (random * 1664525 + 1013904223) >>> 0) % n;
      const check = () => {
        const open = left.findIndex((n, i) => i < added && n > 0);
        const prefix = open === -1 ? added : open;
        assert.equal(inFlight.finished?.sequenceNumber, prefix === 0 ? undefined : String(prefix - 1));
        assert.equal(inFlight.size, added - prefix);
      };
      let added = 0;
      while (added < records.length || due.length > 0) {
        if (added < records.length && (due.length === 0 || next(2) === 0)) {
          const { messages, bytes } = records[added]!;
          const ordinal = inFlight.add(String(added), 0, bytes, messages);
          assert.equal(ordinal, added++);
          for (let i = 0; i < messages; i++) due.push(ordinal);
        } else {
          const ordinal = due.splice(next(due.length), 1)[0]!;
          left[ordinal]!--;
          inFlight.acknowledged(ordinal, ordinal);
        }
        check();
      }
      assert.equal(released, records.reduce((sum, r) => sum + r.bytes, 0));
    }),
    { numRuns: 60 },
  );
});
