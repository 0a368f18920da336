// kcl-compat §9's scenarios about sharing a table, on a real DynamoDB protocol as well as in memory. "Java" is written
// by hand: what the KCL stores, item by item.

import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { comparePositions, sentinel } from "../../src/core/position.ts";
import { balanceOf } from "../../src/leases/balance.ts";
import { type HeldLease, type LeaseLoss, takeLease } from "../../src/leases/held-lease.ts";
import { observe } from "../../src/leases/observation.ts";
import { checkCheckpoints, openLeaseTable } from "../../src/leases/preflight.ts";
import type { LeaseItem } from "../../src/leases/row.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { decideTakes } from "../../src/leases/take.ts";
import { newWorkerId } from "../../src/leases/worker-id.ts";
import { systemClock } from "../../src/runtime.ts";
import { unavailable } from "./faulty-store.ts";
import { STORE_KINDS, STREAM, type TestTable } from "./stores.ts";

const F = 10_000;
const at = (sequenceNumber: string, subSequenceNumber = 0) => ({ sequenceNumber, subSequenceNumber });

/** A row as Java leaves it. */
const javaItem = (leaseKey: string, more: LeaseItem = {}): LeaseItem => ({
  leaseKey: { S: leaseKey },
  leaseCounter: { N: "7" },
  leaseOwner: { S: "0" },
  ownerSwitchesSinceCheckpoint: { N: "0" },
  checkpoint: { S: "49680476692410713352980978376493058687213697339282685952" },
  checkpointSubSequenceNumber: { N: "0" },
  startingHashKey: { S: "0" },
  endingHashKey: { S: "340282366920938463463374607431768211455" },
  ...more,
});

async function setUp(t: TestContext, kind: typeof STORE_KINDS[number], ...items: LeaseItem[]) {
  const table = await kind.table(t);
  const store = await table.store();
  for (const item of items) await table.putItem(item);
  const losses: LeaseLoss[] = [];
  const take = async (leaseKey: string, options: { workerId?: string; store?: LeaseStore } = {}) =>
    await takeLease((await store.get(leaseKey))!, {
      store: options.store ?? store,
      clock: systemClock,
      workerId: options.workerId ?? "me",
      failoverTimeMs: F,
      stream: STREAM,
      kinesisNow: () => Date.now(),
      events: {
        lost: (_held, loss) => losses.push(loss),
        finished: () => {},
        released: () => {},
        handOverAsked: () => {},
      },
    }) as HeldLease;
  return { table, store, take, losses };
}

async function takenByJava(table: TestTable, leaseKey: string): Promise<LeaseItem> {
  const item = (await table.item(leaseKey))!;
  const leaseCounter = { N: String(Number(item["leaseCounter"]!.N) + 1) };
  const taken = { ...item, leaseCounter, leaseOwner: { S: "1" }, ownerSwitchesSinceCheckpoint: { N: "1" } };
  await table.putItem(taken);
  return taken;
}

for (const kind of STORE_KINDS) {
  const scenario = (number: string, what: string) =>
    `sharing on ${kind.name}: ${what} (KCL scenario ${number})`;

  test(
    scenario("4", "a clean stop leaves no owner, and whoever takes the row next is no switch of owners"),
    async (t) => {
      const { table, take } = await setUp(t, kind, javaItem("s"));
      const held = await take("s");
      assert.equal(
        await held.checkpoint(at("49680476692410713352980978376493058687213697339282685953")),
        "stored",
      );
      assert.equal(await held.release(), "released");
      const freed = (await table.item("s"))!;
      assert.equal(freed["leaseOwner"], undefined);
      assert.deepEqual([freed["leaseCounter"]!.N, freed["ownerSwitchesSinceCheckpoint"]!.N], ["10", "0"]);
      const next = await take("s", { workerId: "next" });
      assert.equal(next.lease.ownerSwitchesSinceCheckpoint, 0);
      assert.equal(
        next.lease.checkpoint.sequenceNumber,
        "49680476692410713352980978376493058687213697339282685953",
      );
    },
  );

  test(
    scenario("5, 6", "what Java took is lost at the next write, and no checkpoint is written over it"),
    async (t) => {
      for (const first of ["renew", "checkpoint"] as const) {
        const { table, take, losses } = await setUp(t, kind, javaItem("s"));
        const held = await take("s");
        const taken = await takenByJava(table, "s");
        const later = at("49680476692410713352980978376493058687213697339282685999");
        assert.equal(first === "renew" ? await held.renew() : await held.checkpoint(later), "lost");
        assert.equal(held.isAlive(), false);
        assert.equal(await held.checkpoint(later), "lost");
        assert.equal(await held.release(), "lost");
        assert.deepEqual(await table.item("s"), taken);
        assert.deepEqual(losses, [{ reason: "taken", owner: "1" }]);
      }
    },
  );

  test(scenario("7", "a renewal that was applied and not answered costs no lease"), async (t) => {
    const { store, take, losses } = await setUp(t, kind, javaItem("s"));
    let lose = false;
    const deaf = Object.create(store, {
      update: {
        value: async (...call: Parameters<LeaseStore["update"]>) => {
          const result = await store.update(...call);
          if (!lose) return result;
          lose = false;
          throw unavailable();
        },
      },
      get: { value: (key: string) => store.get(key) },
    }) as LeaseStore;
    const held = await take("s", { store: deaf });
    lose = true;
    await assert.rejects(held.renew(), { code: "AWS_UNAVAILABLE" });
    assert.equal(await held.renew(), "renewed");
    assert.deepEqual([losses, held.isAlive()], [[], true]);
  });

  test(
    scenario("8", "a renewal and a checkpoint at the same moment are two writes and no loss"),
    async (t) => {
      const { store, take } = await setUp(t, kind, javaItem("s"));
      const held = await take("s");
      const later = at("49680476692410713352980978376493058687213697339282685960", 2);
      assert.deepEqual(await Promise.all([held.renew(), held.checkpoint(later)]), ["renewed", "stored"]);
      const row = await store.get("s");
      assert.deepEqual([row?.leaseCounter, row?.checkpoint], [10, later]);
    },
  );

  test(scenario("9", "of two processes with one configuration exactly one holds a lease"), async (t) => {
    const { store, table } = await setUp(t, kind, javaItem("s"));
    const row = (await store.get("s"))!;
    const ids = [newWorkerId(), newWorkerId()];
    const events = { lost: () => {}, finished: () => {}, released: () => {}, handOverAsked: () => {} };
    const takes = await Promise.all(
      ids.map((workerId) =>
        takeLease(row, {
          store,
          clock: systemClock,
          workerId,
          failoverTimeMs: F,
          stream: STREAM,
          kinesisNow: () => 0,
          events,
        })
      ),
    );
    assert.equal(takes.filter((held) => held !== undefined).length, 1);
    assert.equal(
      (await table.item("s"))?.["leaseOwner"]?.S,
      ids[takes.findIndex((held) => held !== undefined)],
    );
  });

  test(
    scenario(
      "18",
      "items of KCL 3.x and items without a counter are neither counted nor taken; its versions decide",
    ),
    async (t) => {
      const { store, table } = await setUp(
        t,
        kind,
        javaItem("s", { entityType: { S: "LEASE" } }),
        {
          leaseKey: { S: "Leader" },
          entityType: { S: "LEADER" },
          leaseCounter: { N: "1" },
          checkpoint: { S: "LATEST" },
        },
        { leaseKey: { S: "0" }, entityType: { S: "WORKER_METRIC_STATS" } },
        { leaseKey: { S: "half" }, checkpoint: { S: "LATEST" } },
      );
      const options = {
        store,
        stream: STREAM,
        log: silentLogger,
        signal: new AbortController().signal,
        tableWasChosen: true,
      };
      const { leases, foreignItems } = await openLeaseTable(options);
      assert.deepEqual([leases.map((lease) => lease.leaseKey), foreignItems], [["s"], 3]);
      const { observations } = observe(new Map(), leases, 0);
      const view = {
        leases,
        observations,
        now: F + 1,
        failoverTimeMs: F,
        workerId: "me",
        held: new Set<string>(),
      };
      const { take, balance } = decideTakes(view, { maySteal: true, random: () => 0.5 });
      assert.deepEqual([take.map((lease) => lease.leaseKey), balance.target], [["s"], 1]);

      const version = (cv: string) =>
        table.putItem({
          leaseKey: { S: "Migration3.0" },
          entityType: { S: "CLIENT_VERSION_MIGRATION" },
          cv: { S: cv },
        });
      for (const cv of ["CLIENT_VERSION_UPGRADE_FROM_2X", "CLIENT_VERSION_2X", "CLIENT_VERSION_INIT"]) {
        await version(cv);
        assert.equal((await openLeaseTable(options)).leases.length, 1, cv);
      }
      for (const cv of ["CLIENT_VERSION_3X", "CLIENT_VERSION_3X_WITH_ROLLBACK"]) {
        await version(cv);
        await assert.rejects(openLeaseTable(options), {
          code: "LEASE_TABLE_FOREIGN",
          message: new RegExp(cv),
        });
      }
    },
  );

  test(
    scenario(
      "19",
      "a row in a hand-over counts for who processes it, is no one's to renew, and a take ends the hand-over",
    ),
    async (t) => {
      const handing = javaItem("s", { leaseOwner: { S: "me" }, checkpointOwner: { S: "other" } });
      const { store, table, take } = await setUp(t, kind, handing);
      const row = (await store.get("s"))!;
      const { observations } = observe(new Map(), [row], 0);
      const view = {
        leases: [row],
        observations,
        now: 0,
        failoverTimeMs: F,
        workerId: "me",
        held: new Set<string>(),
      };
      assert.deepEqual([...balanceOf(view).counts], [["other", 1], ["me", 0]]);
      assert.deepEqual(
        await store.update("s", row.leaseCounter, {}),
        { done: false },
        "not renewed as leaseOwner",
      );
      assert.deepEqual(await store.update("s", row.leaseCounter, { whileCheckpointOwner: "me" }), {
        done: false,
      });
      const held = await take("s");
      assert.equal((await table.item("s"))?.["checkpointOwner"], undefined);
      assert.equal(await held.renew(), "renewed");
    },
  );

  test(scenario("19", "asked to hand over, a lease is finished and left to the next owner"), async (t) => {
    const { table, take } = await setUp(t, kind, javaItem("s"));
    const held = await take("s");
    const asked = { ...(await table.item("s"))!, leaseOwner: { S: "next" }, checkpointOwner: { S: "me" } };
    await table.putItem(asked);
    assert.equal(await held.renew(), "renewed");
    assert.equal((await table.item("s"))?.["leaseOwner"]?.S, "next");
    assert.equal(
      await held.checkpoint(at("49680476692410713352980978376493058687213697339282685960")),
      "stored",
    );
    assert.equal(await held.release(), "released");
    const row = (await table.item("s"))!;
    assert.deepEqual([row["leaseOwner"]?.S, row["checkpointOwner"]], ["next", undefined]);
  });

  test(scenario("20", "attributes that we do not know survive all that we write"), async (t) => {
    const unknown = {
      throughputKBps: { N: "12.345678" },
      color: { SS: ["blue"] },
      nested: { M: { a: { BOOL: true } } },
    };
    const { table, take } = await setUp(t, kind, javaItem("s", unknown as LeaseItem));
    const check = async (after: string) => {
      const item = (await table.item("s"))!;
      for (const [name, value] of Object.entries(unknown)) {
        assert.deepEqual(item[name], value, `${name} after ${after}`);
      }
    };
    const held = await take("s");
    await check("take");
    await held.renew();
    await check("renewal");
    await held.checkpoint(at("49680476692410713352980978376493058687213697339282685960"));
    await check("checkpoint");
    await held.checkpoint(sentinel("SHARD_END"), { childShardIds: ["a", "b"] });
    await check("shard end");
    await held.release();
    await check("release");
  });

  test(
    scenario(
      "26",
      "a table of another stream, or of an earlier one of the same name, is refused and says what to do",
    ),
    async (t) => {
      const streamArn = { S: "arn:aws:kinesis:us-east-1:000000000000:stream/payments" };
      const open = async (item: LeaseItem) => {
        const { store } = await setUp(t, kind, javaItem("java"), item);
        return openLeaseTable({
          store,
          stream: STREAM,
          log: silentLogger,
          signal: new AbortController().signal,
          tableWasChosen: true,
        });
      };
      const foreign = (message: RegExp) => (error: unknown) => {
        assert.ok(error instanceof ConnectorError);
        assert.equal(error.code, "LEASE_TABLE_FOREIGN");
        assert.match(error.message, message);
        return true;
      };
      await assert.rejects(
        open(javaItem("s", { streamArn })),
        foreign(/belongs to stream .*payments.*its own applicationName/),
      );
      const created = {
        streamArn: { S: STREAM.streamArn },
        streamCreatedAt: { N: String(STREAM.streamCreatedAt - 5000) },
      };
      await assert.rejects(
        open(javaItem("s", created)),
        foreign(/created at .*leases reset .*, delete the table, or choose another/),
      );
      // Java's rows carry no stream: what proves it is a position that lies before the shard's beginning.
      const { leases } = await open(javaItem("s"));
      const shard = {
        ...FULL,
        shardId: "s",
        parentShardIds: [],
        startingSequenceNumber: "49990000000000000000000000000000000000000000000000000000",
      };
      assert.throws(
        () => checkCheckpoints(leases, [shard], "orders"),
        foreign(/was written for another stream/),
      );
      checkCheckpoints(leases, [{ ...shard, startingSequenceNumber: "1" }], "orders");
    },
  );
}

const FULL = { startingHashKey: "0", endingHashKey: "340282366920938463463374607431768211455" };

test("sharing: positions compare as numbers of any length, sentinels in the KCL's order (KCL scenario 21)", () => {
  const order = [
    sentinel("AT_TIMESTAMP"),
    sentinel("TRIM_HORIZON"),
    sentinel("LATEST"),
    at("9"),
    at("10"),
    at("9007199254740993"),
    at("9007199254740993", 1),
    at("9007199254740994"),
    at("49680476692410713352980978376493058687213697339282685952"),
    at("149680476692410713352980978376493058687213697339282685952"),
    sentinel("SHARD_END"),
  ];
  order.forEach((a, i) =>
    order.forEach((b, j) =>
      assert.equal(Math.sign(comparePositions(a, b)), Math.sign(i - j), `${i} and ${j}`)
    )
  );
});
