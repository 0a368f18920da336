import { test } from "node:test";
import assert from "node:assert/strict";
import { sentinel } from "../../src/core/position.ts";
import { balanceOf, fairShare, type TableView } from "../../src/leases/balance.ts";
import { leasesToGiveAway } from "../../src/leases/give-away.ts";
import { type Observations, observe } from "../../src/leases/observation.ts";
import { nextScanDelay, SharingRhythm } from "../../src/leases/rhythm.ts";
import type { Lease } from "../../src/leases/store.ts";
import { decideTakes } from "../../src/leases/take.ts";
import { leaseTimes } from "../../src/leases/times.ts";
import { isOwnWorkerId, newWorkerId } from "../../src/leases/worker-id.ts";
import { newRow, ourId } from "./stores.ts";

const F = 10_000;
const TIMES = leaseTimes(F);
const OURS = ourId(1);
const OURS_TOO = ourId(2);

/** A view of a table: `{ me: 2, "0": 3, nobody: 1 }` = how many leases whom. */
function view(owners: Readonly<Record<string, number>>, change: Partial<TableView> = {}): TableView {
  const leases: Lease[] = [];
  const held = new Set<string>();
  for (const [owner, count] of Object.entries(owners)) {
    for (let i = 0; i < count; i++) {
      const leaseKey = `${owner}-${i}`;
      leases.push(newRow(leaseKey, { leaseCounter: 5, leaseOwner: owner === "nobody" ? undefined : owner }));
      if (owner === "me") held.add(leaseKey);
    }
  }
  const { observations } = observe(new Map(), leases, 0);
  return { leases, observations, now: 0, failoverTimeMs: F, workerId: "me", held, ...change };
}

const random = () => 0.3;
const steal = (owners: Readonly<Record<string, number>>) =>
  decideTakes(view(owners), { maySteal: true, random }).steal?.leaseOwner;

test("take: the share is all leases over all live workers, rounded up, and at least one", () => {
  for (
    const [leases, workers, share] of [[6, 3, 2], [7, 3, 3], [0, 1, 1], [2, 5, 1], [5, 5, 1], [100, 1, 100]]
  ) {
    assert.equal(fairShare(leases!, workers!), share, `${leases}/${workers}`);
  }
});

test("take: steals follow the KCL's table: one lease, from the most loaded, and a need of one only from above the target", () => {
  for (
    const [owners, victim] of [
      [{ me: 0, "0": 2 }, "0"], // target 1, need 1, above it
      [{ me: 0, "0": 1 }, undefined], // need 1, at the target
      [{ me: 1, "0": 3 }, "0"], // target 2, need 1, above it
      [{ me: 1, "0": 2 }, undefined], // target 2, need 1, at it: to and fro for ever otherwise
      [{ me: 0, "0": 2, "1": 2 }, "0"], // target 2, need 2, nobody above: one all the same
      [{ me: 2, "0": 2, "1": 2 }, undefined],
      [{ me: 2, "0": 1, "1": 4 }, "1"], // target 3
      [{ me: 3, "0": 1, "1": 3 }, undefined], // no need
    ] as const
  ) {
    assert.equal(steal(owners), victim, JSON.stringify(owners));
  }
});

test("take: among equally loaded workers the victim is chosen by lot, and so is its lease", () => {
  const victims = new Set<string>();
  const leases = new Set<string>();
  for (const first of [0, 0.9]) {
    for (const second of [0, 0.5, 0.9]) {
      const lots = [first, second];
      const { steal } = decideTakes(view({ me: 0, "0": 3, "1": 3 }), {
        maySteal: true,
        random: () => lots.shift()!,
      });
      victims.add(steal!.leaseOwner!);
      leases.add(steal!.leaseKey);
    }
  }
  assert.deepEqual([...victims].sort(), ["0", "1"]);
  assert.equal(leases.size, 6);
});

test("take: nothing is stolen outside of the rhythm, or while anything is free, or of what is being handed over", () => {
  assert.equal(decideTakes(view({ me: 0, "0": 4 }), { maySteal: false, random }).steal, undefined);
  assert.equal(decideTakes(view({ me: 0, "0": 4, nobody: 1 }), { maySteal: true, random }).steal, undefined);
  const handing = view({ me: 0, "0": 4 });
  const leases = handing.leases.map((lease) => ({ ...lease, checkpointOwner: "0", leaseOwner: "1" }));
  assert.equal(decideTakes({ ...handing, leases }, { maySteal: true, random }).steal, undefined);
});

test("take: what is free is all taken at once by who is alone, and beside KCL workers, which look only every 20 s", () => {
  for (const others of [{}, { "0": 0 }, { "0": 1, "1": 1 }] as Record<string, number>[]) {
    const { take } = decideTakes(view({ ...others, nobody: 5 }), { maySteal: true, random });
    assert.equal(take.length, 5, JSON.stringify(others));
  }
});

test("take: beside needy workers of ours only the share is taken at once, the rest when nobody came for it", () => {
  const unowned = view({ me: 1, [OURS]: 1, nobody: 6 });
  const first = decideTakes(unowned, { maySteal: true, random });
  assert.equal(first.take.length, 3, "8 leases, 2 workers");
  assert.equal(first.lookAgainAt, 3000);
  assert.equal(decideTakes({ ...unowned, now: 2999 }, { maySteal: true, random }).take.length, 3);
  assert.equal(decideTakes({ ...unowned, now: 3000 }, { maySteal: true, random }).take.length, 6);

  const dead = view({ me: 1, [OURS]: 1, "0": 6 }, { now: F + 1 });
  const alive: Observations = new Map(
    [...dead.observations].map(([key, seen]) => [key, seen.owner === "0" ? seen : { ...seen, since: F }]),
  );
  const second = decideTakes({ ...dead, observations: alive }, { maySteal: true, random });
  assert.equal(second.take.length, 3);
  assert.equal(second.lookAgainAt, F + 700, "failover time + 2 s in the end");
  assert.equal(
    decideTakes({ ...dead, observations: alive, now: F + 700 }, { maySteal: true, random }).take.length,
    6,
  );

  const full = view({ me: 2, [OURS]: 2, nobody: 1 });
  assert.equal(
    decideTakes(full, { maySteal: true, random }).take.length,
    1,
    "target 3: it is in nobody's way",
  );
});

test("take: of a table of ten thousand rows, which is looked at every ten seconds, they are left for longer", () => {
  const large = view({ me: 4999, [OURS]: 1, nobody: 5000 });
  const { take, lookAgainAt } = decideTakes(large, { maySteal: true, random });
  assert.deepEqual([take.length, lookAgainAt], [1, 12_000]);
});

test("take: rows with the own id count as own and are taken at once, whatever the share", () => {
  const mine = view({ me: 4, [OURS]: 1 }, { held: new Set() });
  const { take, balance } = decideTakes(mine, { maySteal: true, random });
  assert.equal(take.length, 4);
  assert.equal(balance.mine, 4);
});

test("take: a finished lease counts, and may be stolen (KCL scenario 16)", () => {
  const table = view({ me: 0, "0": 2 });
  const leases = table.leases.map((lease) => ({ ...lease, checkpoint: sentinel("SHARD_END") }));
  assert.equal(decideTakes({ ...table, leases }, { maySteal: true, random }).steal?.leaseOwner, "0");
});

test("take: during a hand-over of KCL 3.x a lease counts for who still processes it (KCL scenario 19)", () => {
  const table = view({ me: 0, "0": 2 });
  const leases = table.leases.map((lease) => ({ ...lease, checkpointOwner: "0", leaseOwner: "1" }));
  const { counts } = balanceOf({ ...table, leases });
  assert.deepEqual([...counts], [["0", 2], ["me", 0]]);
});

test("give away: the surplus goes to needy workers of ours, never more, never below the own share", () => {
  const give = (owners: Record<string, number>, change: Partial<TableView> = {}) =>
    leasesToGiveAway(view(owners, change), random).length;
  assert.equal(give({ me: 10, [OURS]: 1 }), 4, "11 of 2: six each, one of them five");
  assert.equal(give({ me: 10, [OURS]: 1, [OURS_TOO]: 1 }), 6);
  assert.equal(give({ me: 6, [OURS]: 5 }), 0, "even");
  assert.equal(give({ me: 10, "0": 1 }), 0, "a KCL worker would leave them unread for up to 20 s");
  assert.equal(give({ me: 10, "0": 1, [OURS]: 3 }), 2, "14 of 3: what ours lacks, not what Java lacks");
  assert.equal(give({ me: 10, [OURS]: 1, nobody: 1 }), 0, "there is something to take");
  assert.equal(give({ me: 10, [OURS]: 10, [OURS_TOO]: 1 }), 3, "the other one gives three too");
  const leaving = new Set(["me-0", "me-1", "me-2", "me-3"]);
  assert.equal(give({ me: 10, [OURS]: 1 }, { leaving }), 0, "on its way already");
});

test("give away: a worker's own kind is known by its id", () => {
  assert.equal(isOwnWorkerId(newWorkerId()), true);
  assert.equal(isOwnWorkerId(OURS), true);
  for (const id of ["0", "17", "host", "b7b5e0e2-3f2e-4a33-9c0e-0a8f6c0c4c11", "host:1", "host:x:1"]) {
    assert.equal(isOwnWorkerId(id), false, id);
  }
});

test("rhythm: steals and gifts at most once per twice the failover time and 50 ms; the first at once", () => {
  const rhythm = new SharingRhythm(TIMES, () => 0);
  assert.equal(rhythm.maySteal(0, 0), true);
  rhythm.stole(0);
  assert.equal(rhythm.maySteal(20_049, 0), false);
  assert.equal(rhythm.maySteal(20_050, 0), true);
  assert.equal(rhythm.mayGive(0), true);
  rhythm.gave(0);
  assert.equal(rhythm.mayGive(20_049), false);
  assert.equal(rhythm.mayGive(20_050), true);
});

test("rhythm: who holds something waits until others had the time to give, and then by lot", () => {
  const needy = balanceOf(view({ me: 1, "0": 5 }));
  const content = balanceOf(view({ me: 3, "0": 3 }));
  const free = balanceOf(view({ me: 1, "0": 4, nobody: 1 }));
  for (const [lot, patience] of [[0, 5000], [0.999999, 20_050]] as const) {
    const rhythm = new SharingRhythm(TIMES, () => lot);
    rhythm.saw(content, 0);
    assert.equal(rhythm.maySteal(1000, 3), false);
    rhythm.saw(needy, 1000);
    assert.equal(rhythm.maySteal(999 + Math.floor(patience * 0.99), 1), false);
    rhythm.saw(needy, 2000);
    assert.equal(rhythm.maySteal(1000 + patience, 1), true);
    rhythm.saw(free, 1000 + patience);
    assert.equal(rhythm.maySteal(1001 + patience, 1), false, "nothing is stolen while something is free");
  }
});

test("rhythm: the next scan is due in a second while others hold rows, when one expires, or when rows are left over", () => {
  const table = view({ me: 1, "0": 1 });
  const due = (now: number, lookAgainAt?: number) => nextScanDelay({ ...table, now }, TIMES, lookAgainAt);
  assert.equal(due(0), 1000);
  assert.equal(due(F - 500), 501);
  assert.equal(due(F + 1), 100, "not all the time");
  assert.equal(due(0, 300), 300);
  assert.equal(nextScanDelay(view({ me: 2 }), TIMES), 20_050, "all its own");
  assert.equal(nextScanDelay(view({}), TIMES), 1000, "an empty table");
  const large = { ...view({ me: 1, "0": 9_999 }), now: 0 };
  assert.equal(nextScanDelay(large, TIMES), 10_000, "a scan of ten thousand rows is dear");
  const many = view({ me: 1, "0": 999 }, { now: F - 500 });
  assert.equal(nextScanDelay(many, TIMES), 501, "of a thousand it is not");
});
