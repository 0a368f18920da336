import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { elect, electionOrder, isLeader, leaderOf } from "../../src/leases/leader.ts";
import { newRow } from "./stores.ts";

const ids = (count: number) => Array.from({ length: count }, (_, i) => String(i));
const owned = (...owners: (string | undefined)[]) =>
  owners.map((leaseOwner, i) => newRow(`s${i}`, { leaseOwner }));

test("leader: the order is Java's for its seed, whoever takes part (KCL scenario 17)", () => {
  assert.deepEqual(electionOrder(ids(2)), ["0", "1"]);
  assert.deepEqual(electionOrder(ids(3)), ["2", "0", "1"]);
  assert.deepEqual(electionOrder(ids(4)), ["3", "0", "1", "2"]);
  assert.deepEqual(electionOrder(ids(5)), ["4", "0", "2", "1", "3"]);
  assert.deepEqual(electionOrder(ids(8)), ["2", "3", "0", "6", "4", "7", "1", "5"]);
  assert.deepEqual(electionOrder([]), []);
  assert.deepEqual(electionOrder(["only"]), ["only"]);
});

test("leader: Java's and our ids in one fleet, sorted by UTF-16 code units (KCL scenario 17)", () => {
  // By code units: digits, "host…", U+1F600 (a surrogate pair, D83D …), U+FF01 – by code points the last two swap.
  const fleet = ["\uff01", "host:7:b", "\u{1f600}", "0"];
  assert.deepEqual(electionOrder(fleet), ["\uff01", "0", "host:7:b", "\u{1f600}"]);
  assert.equal(leaderOf(["0", "1", "ts-host:1:a"]), "ts-host:1:a");
  assert.equal(leaderOf(["10", "9", "0"]), "9", "text, not numbers");
});

test("leader: every order and number of rows elects the same worker", () => {
  fc.assert(fc.property(
    fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 40 }),
    fc.integer({ min: 1, max: 3 }),
    (owners, rows) => {
      const leader = leaderOf(owners);
      assert.equal(leaderOf([...owners].reverse()), leader);
      assert.equal(leaderOf(Array.from({ length: rows }, () => owners).flat()), leader);
      assert.deepEqual(electionOrder(owners).sort(), [...owners].sort());
    },
  ));
});

test("leader: elected at the first use, after a minute, then every five, not in between", () => {
  const first = elect(undefined, owned("0", "1"), 1000);
  assert.equal(first.leader, "0");
  assert.equal(elect(first, owned("2"), 60_999).leader, "0");
  const second = elect(first, owned("2"), 61_000);
  assert.equal(second.leader, "2");
  assert.equal(elect(second, owned("3"), 360_999).leader, "2");
  assert.equal(elect(second, owned("3"), 361_000).leader, "3");
});

test("leader: where nobody owns a lease everybody leads, until somebody does", () => {
  const nobody = elect(undefined, owned(undefined, undefined), 0);
  assert.equal(isLeader(nobody, "anyone"), true);
  const somebody = elect(nobody, owned("0", undefined), 1);
  assert.equal(isLeader(somebody, "anyone"), false);
  assert.equal(isLeader(somebody, "0"), true);
});
