// A lease's row is deleted while a worker of the real KCL for Java and two of ours run: whom the KCL's election names
// sees the hole and fills it, nobody else does, and where Java as the leader leaves one, ours fill it.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";
import { AUDIT_EVERY_MS, FIRST_AUDIT_MS } from "../../src/leases/audit.ts";
import { leaderOf } from "../../src/leases/leader.ts";
import { createConnector } from "../../mod.ts";
import { systemClock } from "../../src/runtime.ts";
import { RecordingLogger } from "../fakes.ts";
import { soon } from "../faults/kit.ts";
import { kclJvm, kclMissing } from "../servers/kcl-consumer.ts";
import { type KclRoad, layKclRoad, leaseCounts, ownerAndCheckpoint } from "./kcl-kit.ts";
import { eventually } from "./kit.ts";

const skip = kclMissing() ?? false;

/** Two scans of the table, and some time. */
const TWO_SCANS_MS = 3_000;

/** The real clock, but audits come when they are called for. */
function auditClock(): { readonly clock: Clock; audit(): Promise<void> } {
  const asleep = new Set<() => void>();
  let audited = () => {};
  const clock: Clock = {
    ...systemClock,
    sleep(ms, signal) {
      if (ms !== FIRST_AUDIT_MS && ms !== AUDIT_EVERY_MS) return systemClock.sleep(ms, signal);
      if (ms === AUDIT_EVERY_MS) audited(); // the last one is over
      return new Promise((resolve) => {
        const wake = () => {
          asleep.delete(wake);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        signal?.addEventListener("abort", wake);
        asleep.add(wake);
        if (signal?.aborted) wake();
      });
    },
  };
  const audit = () => {
    const over = new Promise<void>((resolve) => audited = resolve);
    for (const wake of [...asleep]) wake();
    return soon(over, "an audit");
  };
  return { clock, audit };
}

/** One of ours in this process, and its worker id: the owner in the table that was not there before. */
async function startOurs(t: TestContext, road: KclRoad, known: readonly string[]) {
  const log = new RecordingLogger();
  const { clock, audit } = auditClock();
  const connector = createConnector({ ...road.config, checkpointInterval: 500 }, { log, env: {}, clock });
  t.after(() => connector.stop());
  await connector.start();
  let id: string | undefined;
  await eventually(async () => {
    const counts = leaseCounts(await road.rows());
    id = [...counts.keys()].find((owner) => owner !== "-" && !known.includes(owner));
    return id !== undefined && !counts.has("-");
  }, "a lease for one of ours");
  return { id: id!, connector, log, audit };
}

test(
  "kcl: rows deleted under Java and two of ours come back by the elected leader, whoever it is; finished shards do not (KCL scenarios 12, 17)",
  { skip },
  async (t) => {
    await kclJvm();
    // Of three ids the election takes the last. At once, because both wait most of the time.
    await Promise.all([healed(t, "ours", "0"), healed(t, "Java", "~")]);
  },
);

async function healed(t: TestContext, leader: "ours" | "Java", javaId: string): Promise<void> {
  const road = await layKclRoad(t, { shards: 3 });
  const [first, second, parent] = road.kinesis.openShardIds(road.streamName) as [string, string, string];
  const ofParent = road.put(5, parent);
  const children = road.kinesis.splitShard(road.streamName, parent);
  await road.prepareTable({
    [first]: { owner: javaId },
    [second]: { owner: javaId },
    [parent]: { children },
    [children[0]]: { parents: [parent] },
    [children[1]]: { parents: [parent] },
  });
  const java = await road.java({ id: javaId, maxLeases: 2, roundMs: 250, checkpointEvery: 1 });
  await java.until("its two shards", () => java.told("init").length === 2);
  const one = await startOurs(t, road, [javaId]);
  const two = await startOurs(t, road, [javaId, one.id]);
  const ids = [javaId, one.id, two.id];
  const elected = leaderOf(ids)!;
  assert.equal(elected === javaId, leader === "Java");
  assert.deepEqual(await java.leaders(ids), [elected]);
  await delay(TWO_SCANS_MS); // each of ours elects by its last scan, and holds to that for a minute

  // One of Java's rows and one of ours. Each of the three keeps another, and with it its vote.
  const before = await road.rows();
  const counts = leaseCounts(before);
  const child = children.find((each) => counts.get(before.get(each)!["leaseOwner"]!.S!)! > 1)!;
  const holes = [first, child];
  for (const shardId of holes) await road.deleteRow(shardId);
  await java.until("its lease is lost", () => java.told("lost", first).length > 0);
  const isLost = new RegExp(`lost the lease of shard ${child}`);
  await eventually(
    () => [one, two].some(({ log }) => isLost.test(log.messages("warn").join())),
    "one of ours has lost its lease",
  );
  for (const shardId of [first, second, ...children]) road.put(5, shardId);
  const missing = async () => {
    const rows = await road.rows();
    return holes.filter((shardId) => !rows.has(shardId));
  };

  const workers = [{ id: javaId, audit: () => java.audit() }, one, two];
  for (let round = 0; round < 4; round++) {
    for (const { id, audit } of workers) if (id !== elected) await audit();
  }
  assert.deepEqual(await missing(), holes, "who is not elected fills nothing so soon");
  await eventually(async () => {
    await workers.find(({ id }) => id === elected)!.audit();
    return !(await missing()).includes(first);
  }, "the leader fills a hole");
  if (leader === "ours") {
    const { log } = [one, two].find(({ id }) => id === elected)!;
    assert.doesNotMatch(
      log.messages("debug").join("\n"),
      /seen 3 times/,
      "the third time it does not only tell",
    );
  } else {
    for (let round = 0; round < 3; round++) await java.audit();
    assert.deepEqual(await missing(), [child], "the KCL takes it for one that its parent's end will make");
    await eventually(async () => {
      await one.audit();
      return (await missing()).length === 0;
    }, "one of ours fills what the leader leaves");
  }
  assert.deepEqual(await missing(), []);

  const wanted = road.known.map(({ text }) => text).filter((text) => !ofParent.includes(text));
  const read = () => new Set([...road.published(), ...road.read(java)]);
  await eventually(async () => {
    await java.refresh();
    const texts = read();
    return wanted.every((text) => texts.has(text));
  }, "all records of the open shards");
  assert.deepEqual([...read()].sort(), wanted.sort(), "the finished shard is not read anew");
  assert.match(ownerAndCheckpoint((await road.rows()).get(parent)), / SHARD_END\/0$/);
  for (const { connector } of [one, two]) {
    const { error } = await connector.stop();
    assert.equal(error, undefined, error?.message);
  }
  assert.deepEqual(java.told("failed"), []);
}
