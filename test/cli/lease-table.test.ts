import assert from "node:assert/strict";
import { test } from "node:test";
import { leasesJson, leasesText, releasedText, resetText } from "../../src/cli/lease-table.ts";
import { sentinel } from "../../src/core/position.ts";
import type { LeaseLine, LeaseReport } from "../../src/open-leases.ts";

const AT = Date.UTC(2026, 8, 1, 12);
const NUMBER = "49680476692410713352980978376493058687213697339282685954";
const OURS = "blue:4711:6f2c1d7e-0b59-4c9e-9d5f-2a7f5f3f1b11";

const line = (shard: number, more: Partial<LeaseLine> = {}): LeaseLine => ({
  shardId: `shardId-${String(shard).padStart(12, "0")}`,
  owner: undefined,
  ownerState: undefined,
  checkpoint: sentinel("TRIM_HORIZON"),
  finished: false,
  parentShardIds: [],
  childShardIds: [],
  waitsFor: [],
  hasGeneration: false,
  ...more,
});

const report: LeaseReport = {
  tableName: "orders-to-pulsar",
  streamName: "orders",
  at: AT,
  leases: [
    line(0, {
      owner: "0",
      ownerState: "silent",
      checkpoint: sentinel("SHARD_END"),
      finished: true,
      childShardIds: ["shardId-000000000002", "shardId-000000000003"],
    }),
    line(1, {
      owner: OURS,
      ownerState: "alive",
      checkpoint: { sequenceNumber: NUMBER, subSequenceNumber: 2 },
      lagMs: 320_000,
      oldestUnreadAt: AT - 320_000,
      expiresAt: AT - 320_000 + 86_400_000,
      hasGeneration: true,
    }),
    line(2, { owner: "0", ownerState: "silent", parentShardIds: ["shardId-000000000000"], lagMs: 1 }),
    line(3, {
      parentShardIds: ["shardId-000000000000"],
      lagMs: 0,
      checkpoint: { sequenceNumber: NUMBER, subSequenceNumber: -1 },
    }),
    line(10, {
      owner: OURS,
      ownerState: "alive",
      lagError: "SHARD_NOT_FOUND",
      waitsFor: ["shardId-000000000003"],
    }),
  ],
  owners: [
    { owner: "0", state: "silent", leases: 1, finished: 1 },
    { owner: OURS, state: "alive", leases: 2, finished: 0 },
  ],
  foreignItems: 1,
  notes: [],
};

test("lease table: one row per shard, owners whole below, and a line that sums up", () => {
  assert.equal(
    leasesText(report),
    [
      'lease table "orders-to-pulsar" of stream "orders" at 2026-09-01T12:00:00Z',
      "",
      "SHARD                 OWNER           STATE         CHECKPOINT                LAG         EXPIRES IN   PARENTS  CHILDREN  ONCE",
      "shardId-000000000000  0               finished      SHARD_END                                                   2, 3",
      "shardId-000000000001  blue:4711:6f2c  held          4968…339282685954 +2      5 min 20 s  23 h 54 min                     yes",
      "shardId-000000000002  0               owner silent  TRIM_HORIZON              < 1 s                    0",
      "shardId-000000000003  -               unowned       before 4968…339282685954  0                        0",
      "shardId-000000000010  blue:4711:6f2c  waiting       TRIM_HORIZON              shard gone",
      "",
      "OWNER                                           STATE   LEASES  FINISHED",
      "0                                               silent  1       1",
      `${OURS}  alive   2       0`,
      "",
      "5 leases (1 finished, 1 held, 1 owner silent, 1 unowned, 1 waiting) of 2 owners; furthest behind: " +
      "shardId-000000000001 by 5 min 20 s, its data expires in 23 h 54 min; 1 item of another kind",
    ].join("\n"),
  );
});

test("lease table: owners that begin alike keep their whole names; an empty table has no rows", () => {
  const twin = OURS.replace("1b11", "1b12");
  const owned = [
    line(0, { owner: OURS, ownerState: "alive" }),
    line(1, { owner: twin, ownerState: "unknown" }),
  ];
  const owners = [OURS, twin].map((owner) => ({ owner, state: "unknown" as const, leases: 1, finished: 0 }));
  const text = leasesText({ ...report, leases: owned, owners });
  assert.match(text, new RegExp(`0 +${OURS} +held`));
  assert.match(text, new RegExp(`1 +${twin} +owned`));
  assert.match(leasesText({ ...report, leases: [], owners: [] }), /: no leases yet$/);
});

test("lease table: JSON has numbers and names whole, and times as ISO-8601", () => {
  const json = JSON.parse(JSON.stringify(leasesJson(report)));
  assert.equal(json.table, "orders-to-pulsar");
  assert.equal(json.at, "2026-09-01T12:00:00Z");
  assert.deepEqual(json.leases[1], {
    ...report.leases[1],
    state: "held",
    oldestUnreadAt: "2026-09-01T11:54:40Z",
    expiresAt: "2026-09-02T11:54:40Z",
    expiresInSeconds: 86_080,
  });
  assert.equal(json.leases[3].lagMs, 0);
  assert.equal("lagMs" in json.leases[0], false);
});

test("lease table: a reset tells from where to where, and a dry run that nothing was changed", () => {
  const rows = [
    {
      shardId: "shardId-000000000000",
      from: sentinel("SHARD_END"),
      to: { sequenceNumber: NUMBER, subSequenceNumber: -1 },
    },
    { shardId: "shardId-000000000001", to: sentinel("LATEST"), startedAt: AT },
    { shardId: "shardId-000000000002", from: sentinel("TRIM_HORIZON") },
  ];
  assert.equal(
    resetText("t", rows, false),
    "shardId-000000000000  SHARD_END     →  before 4968…339282685954\n" +
      "shardId-000000000001  no lease      →  LATEST (from 2026-09-01T12:00:00Z on)\n" +
      "shardId-000000000002  TRIM_HORIZON  →  removed\n\n" +
      'wrote 2 leases, removed 1 in table "t"',
  );
  assert.match(
    resetText("t", rows.slice(0, 1), true),
    /\n\nthis would write 1 lease in table "t"; nothing was changed$/,
  );
  assert.equal(releasedText("t", [], false), 'no lease in table "t" has an owner');
  assert.equal(
    releasedText("t", [{ shardId: "a", owner: "w" }], true),
    'a  w\n\nthis would release 1 lease in table "t"; nothing was changed',
  );
});
