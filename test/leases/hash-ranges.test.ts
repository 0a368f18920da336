import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { RangeIndex, uncoveredRanges } from "../../src/leases/hash-ranges.ts";

const LAST = "340282366920938463463374607431768211455";
const range = (start: number | string, end: number | string) => ({
  startingHashKey: String(start),
  endingHashKey: String(end),
});

test("hash ranges: what nobody covers is found between, before and behind the ranges", () => {
  assert.deepEqual(uncoveredRanges([range(0, LAST)]), []);
  assert.deepEqual(uncoveredRanges([]), [range(0, LAST)]);
  assert.deepEqual(uncoveredRanges([range(100, LAST), range(0, 99)]), []);
  assert.deepEqual(uncoveredRanges([range(0, 9), range(5, 7), range(20, 29), range(31, LAST)]), [
    range(10, 19),
    range(30, 30),
  ]);
  const oneLess = LAST.slice(0, -1) + "4";
  assert.deepEqual(uncoveredRanges([range(1, oneLess)]), [range(0, 0), range(LAST, LAST)]);
});

test("hash ranges: property: the index finds exactly what overlaps", () => {
  const some = fc.tuple(fc.nat(60), fc.nat(20)).map(([start, length]) => range(start, start + length));
  fc.assert(fc.property(fc.array(some, { maxLength: 40 }), some, (ranges, wanted) => {
    const overlaps = ranges.filter((one) =>
      Number(one.startingHashKey) <= Number(wanted.endingHashKey) &&
      Number(one.endingHashKey) >= Number(wanted.startingHashKey)
    );
    const found = new RangeIndex(ranges).overlapping(wanted);
    assert.deepEqual(new Set(found), new Set(overlaps));
    assert.equal(found.length, overlaps.length);
  }));
});
