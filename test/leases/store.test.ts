// The port's promises, on both stores.

import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { sentinel } from "../../src/core/position.ts";
import type { LeaseItem } from "../../src/leases/row.ts";
import type { WriteResult } from "../../src/leases/store.ts";
import { JAVA_ROWS } from "./java-rows.ts";
import { newRow, STORE_KINDS, STREAM } from "./stores.ts";

const SHARD = "shardId-000000000000";
const DIGITS = "49680476692410713352980978376493058687213697339282685954";

function done(result: WriteResult) {
  assert.ok(result.done, "the condition failed");
  return result.lease;
}

for (const kind of STORE_KINDS) {
  const promises = (what: string) => `leases: ${kind.name} store: ${what}`;

  test(promises("a row is created once and read back as it was written"), async (t) => {
    const table = await kind.table(t);
    const store = await table.store();
    const lease = newRow(SHARD, { parentShardIds: ["shardId-7", "shardId-8"], startedAt: 1.75e12 });
    assert.equal(await store.create(lease), true);
    assert.equal(await store.create({ ...lease, leaseCounter: 9 }), false);
    const { leases, foreignItems } = await store.scan();
    assert.equal(foreignItems, 0);
    const plain = { ...lease, parentShardIds: [...leases[0]!.parentShardIds].sort() };
    assert.deepEqual(leases, [{
      ...plain,
      leaseOwner: undefined,
      checkpointOwner: undefined,
    }]);
    assert.deepEqual(await store.get(SHARD), leases[0]);
    assert.equal(await store.get("shardId-9"), undefined);
  });

  test(
    promises("a new row has the attributes and types that the KCL creates, and ours, and no empty ones"),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      await store.create(newRow(SHARD, { startedAt: 1.75e12 }));
      assert.deepEqual(await table.item(SHARD), {
        leaseKey: { S: SHARD },
        leaseCounter: { N: "0" },
        ownerSwitchesSinceCheckpoint: { N: "0" },
        checkpoint: { S: "TRIM_HORIZON" },
        checkpointSubSequenceNumber: { N: "0" },
        startingHashKey: { S: "0" },
        endingHashKey: { S: "340282366920938463463374607431768211455" },
        streamArn: { S: STREAM.streamArn },
        streamCreatedAt: { N: "1700000000000" },
        startedAt: { N: "1750000000000" },
      });
      await store.create(newRow("child", { parentShardIds: ["a", "b"] }));
      assert.deepEqual((await table.item("child"))?.["parentShardId"], { SS: ["a", "b"] });
    },
  );

  test(
    promises(
      "after take and checkpoint a row is a Java row, attribute by attribute, with our three beside it",
    ),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      const java = JAVA_ROWS[0]!;
      await store.create(newRow(SHARD, {
        startingHashKey: java["startingHashKey"]!.S!,
        endingHashKey: java["endingHashKey"]!.S!,
        checkpoint: sentinel("LATEST"),
        startedAt: 1.75e12,
      }));
      await store.update(SHARD, 0, { leaseOwner: "0", checkpointOwner: null });
      for (let counter = 1; counter < 4; counter++) await store.update(SHARD, counter, {});
      const checkpoint = { sequenceNumber: java["checkpoint"]!.S!, subSequenceNumber: 0 };
      await store.update(SHARD, 4, { checkpoint, startedAt: null });
      const ours = await table.item(SHARD);
      assert.deepEqual(ours, {
        ...java,
        streamArn: { S: STREAM.streamArn },
        streamCreatedAt: { N: "1700000000000" },
      });
    },
  );

  test(
    promises(
      "a Java row is read as it is, and a take of it changes only owner, counter, switches and our own",
    ),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      for (const row of JAVA_ROWS) await table.putItem(row);
      const { leases } = await store.scan();
      assert.equal(leases.length, 4);
      const lease = leases.find((it) => it.leaseKey === SHARD)!;
      assert.equal(lease.leaseOwner, "0");
      assert.deepEqual(lease.checkpoint, { sequenceNumber: DIGITS, subSequenceNumber: 0 });
      assert.equal(lease.streamArn, undefined);
      const taken = done(await store.update(SHARD, 5, { leaseOwner: "w", ownerSwitched: true, ...STREAM }));
      assert.equal(taken.leaseCounter, 6);
      assert.deepEqual(await table.item(SHARD), {
        ...JAVA_ROWS[0],
        leaseOwner: { S: "w" },
        leaseCounter: { N: "6" },
        ownerSwitchesSinceCheckpoint: { N: "1" },
        streamArn: { S: STREAM.streamArn },
        streamCreatedAt: { N: "1700000000000" },
      });
    },
  );

  test(promises("an update with another counter, or of a row that is gone, changes nothing"), async (t) => {
    const table = await kind.table(t);
    const store = await table.store();
    await store.create(newRow(SHARD, { leaseCounter: 4 }));
    assert.deepEqual(await store.update(SHARD, 3, { leaseOwner: "w" }), { done: false });
    assert.deepEqual(await store.update(SHARD, 5, { leaseOwner: "w" }), { done: false });
    assert.deepEqual(await store.update("gone", 0, {}), { done: false });
    assert.equal((await store.get(SHARD))?.leaseCounter, 4);
    assert.equal(await store.get("gone"), undefined);
  });

  test(
    promises("a checkpoint resets the switches and removes a pending checkpoint and startedAt"),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      await table.putItem({
        ...JAVA_ROWS[0],
        ownerSwitchesSinceCheckpoint: { N: "3" },
        pendingCheckpoint: { S: DIGITS },
        pendingCheckpointSubSequenceNumber: { N: "1" },
        startedAt: { N: "1750000000000" },
      });
      const checkpoint = sentinel("SHARD_END");
      const lease = done(
        await store.update(SHARD, 5, { checkpoint, childShardIds: ["c1", "c2"], startedAt: null }),
      );
      assert.deepEqual(lease.checkpoint, checkpoint);
      assert.deepEqual([...lease.childShardIds].sort(), ["c1", "c2"]);
      assert.deepEqual(await table.item(SHARD), {
        ...JAVA_ROWS[0],
        leaseCounter: { N: "6" },
        ownerSwitchesSinceCheckpoint: { N: "0" },
        checkpoint: { S: "SHARD_END" },
        childShardIds: { SS: ["c1", "c2"] },
      });
    },
  );

  test(
    promises("attributes that we do not know survive renewal, checkpoint, take and eviction"),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      const unknown: LeaseItem = {
        throughputKBps: { N: "12.5" },
        note: { S: "kept" },
        things: { M: { a: { L: [{ N: "1" }] } } },
      };
      await table.putItem({ ...JAVA_ROWS[0], ...unknown });
      done(await store.update(SHARD, 5, { leaseOwner: "w", ownerSwitched: true, checkpointOwner: null }));
      done(await store.update(SHARD, 6, {}));
      done(await store.update(SHARD, 7, { checkpoint: sentinel("SHARD_END"), startedAt: null }));
      done(await store.update(SHARD, 8, { leaseOwner: null }));
      await store.setMeta(SHARD, { childShardIds: ["c"] });
      const item = await table.item(SHARD);
      for (const [name, value] of Object.entries(unknown)) assert.deepEqual(item?.[name], value, name);
      assert.equal(item?.["leaseCounter"]?.N, "9");
    },
  );

  test(
    promises("an eviction removes the owner and counts up, so that a renewal on its way fails"),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      await table.putItem(JAVA_ROWS[0]!);
      const lease = done(await store.update(SHARD, 5, { leaseOwner: null }));
      assert.equal(lease.leaseOwner, undefined);
      const { leaseOwner: _, ...rest } = JAVA_ROWS[0]!;
      assert.deepEqual(await table.item(SHARD), { ...rest, leaseCounter: { N: "6" } });
      assert.deepEqual(await store.update(SHARD, 5, {}), { done: false });
    },
  );

  test(
    promises("a row in a KCL 3.x hand-over is not renewed, and a take removes checkpointOwner"),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      await table.putItem({ ...JAVA_ROWS[0], leaseOwner: { S: "next" }, checkpointOwner: { S: "w" } });
      assert.deepEqual(await store.update(SHARD, 5, {}), { done: false });
      const lease = done(await store.update(SHARD, 5, { leaseOwner: "me", checkpointOwner: null }));
      assert.equal(lease.checkpointOwner, undefined);
      assert.equal((await table.item(SHARD))?.["checkpointOwner"], undefined);
    },
  );

  test(promises("items of other kinds are skipped and counted, never read as leases"), async (t) => {
    const table = await kind.table(t);
    const store = await table.store();
    await table.putItem(JAVA_ROWS[0]!);
    await table.putItem({ ...JAVA_ROWS[1], entityType: { S: "LEASE" } });
    await table.putItem({ leaseKey: { S: "Leader" }, entityType: { S: "LEADER" }, leaseCounter: { N: "1" } });
    await table.putItem({ ...JAVA_ROWS[2], leaseKey: { S: "x" }, entityType: { S: "WORKER_METRIC_STATS" } });
    await table.putItem({ leaseKey: { S: "note" }, checkpoint: { S: "LATEST" } });
    const scan = await store.scan();
    assert.equal(scan.leases.length, 2);
    assert.equal(scan.foreignItems, 3);
    assert.equal(await store.get("Leader"), undefined);
    assert.equal(await store.get("note"), undefined);
  });

  test(promises("a lease with an unreadable checkpoint is refused by name"), async (t) => {
    const table = await kind.table(t);
    const store = await table.store();
    await table.putItem({ ...JAVA_ROWS[0], checkpoint: { S: "NEWEST" } });
    await assert.rejects(
      store.scan(),
      (error) =>
        error instanceof ConnectorError && error.code === "LEASE_TABLE_MISMATCH" && !error.retryable &&
        error.message.includes(SHARD) && error.message.includes("NEWEST"),
    );
  });

  test(promises("child ids are written without touching the counter, and never make a row"), async (t) => {
    const table = await kind.table(t);
    const store = await table.store();
    await table.putItem(JAVA_ROWS[0]!);
    await store.setMeta(SHARD, { childShardIds: ["c2", "c1"] });
    await store.setMeta(SHARD, { childShardIds: [] });
    await store.setMeta("gone", { childShardIds: ["c1"] });
    assert.equal(await store.get("gone"), undefined);
    const lease = await store.get(SHARD);
    assert.equal(lease?.leaseCounter, 5);
    assert.deepEqual([...lease?.childShardIds ?? []].sort(), ["c1", "c2"]);
    assert.equal(await store.delete(SHARD, 4), false, "somebody has written it since");
    assert.equal((await store.get(SHARD))?.leaseCounter, 5);
    assert.equal(await store.delete(SHARD, 5), true);
    assert.equal(await store.delete(SHARD, 5), true, "it is gone");
    assert.equal(await store.get(SHARD), undefined);
  });

  test(
    promises("a hash range is filled in without touching counter or owner, and never makes a row"),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      const { startingHashKey: _start, endingHashKey: _end, ...old } = JAVA_ROWS[0]!;
      await table.putItem(old);
      assert.equal((await store.get(SHARD))?.startingHashKey, undefined);
      await store.setMeta(SHARD, { startingHashKey: "0", endingHashKey: "99" });
      await store.setMeta(SHARD, {});
      await store.setMeta("gone", { startingHashKey: "0", endingHashKey: "99" });
      assert.equal(await store.get("gone"), undefined);
      assert.deepEqual(await table.item(SHARD), {
        ...old,
        startingHashKey: { S: "0" },
        endingHashKey: { S: "99" },
      });
    },
  );

  test(promises("of eight workers that take one row at once exactly one wins"), async (t) => {
    const table = await kind.table(t);
    const stores = await Promise.all(Array.from({ length: 8 }, () => table.store()));
    for (let round = 0; round < 5; round++) {
      const key = `shard-${round}`;
      await stores[0]!.create(newRow(key));
      const results = await Promise.all(
        stores.map((store, i) => store.update(key, 0, { leaseOwner: `w${i}` })),
      );
      assert.equal(results.filter((result) => result.done).length, 1);
    }
  });

  test(
    promises("it knows the state of tables and what a KCL 3.x fleet says in the lease table"),
    async (t) => {
      const table = await kind.table(t);
      const store = await table.store();
      assert.equal(await store.tableState("pulsar-kinesis"), "missing");
      assert.equal(await store.tableState(store.tableName), "empty");
      assert.deepEqual(await store.clientVersion(), { known: true, version: undefined });
      await table.putItem({
        leaseKey: { S: "Migration3.0" },
        cv: { S: "CLIENT_VERSION_3X" },
        entityType: { S: "CLIENT_VERSION_MIGRATION" },
      });
      assert.deepEqual(await store.clientVersion(), { known: true, version: "CLIENT_VERSION_3X" });
      assert.equal(await store.tableState(store.tableName), "used");
    },
  );
}
