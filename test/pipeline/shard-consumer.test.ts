// What a shard's consumer owes when something ends at an awkward moment.

import { Buffer } from "node:buffer";
import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import type { LeaseChange, LeaseStore } from "../../src/leases/store.ts";
import { Permits } from "../../src/pulsar/permits.ts";
import { child, page, record, world } from "./kit.ts";

test("G7 never silent: onShardStart that fails while its shard has no records stops the connector", async () => {
  const { connector, clock } = world({
    hooks: {
      onShardStart() {
        throw new Error("no such table");
      },
    },
  });
  await connector.start();
  await clock.advance(60_000);
  assert.equal(connector.status().state, "stopped");
  const { error } = await connector.finished;
  assert.equal(error?.code, "HOOK_FAILED");
  assert.match(error!.message, /onShardStart .* failed .*shard-0: no such table/);
});

test("G6 bounded memory: a lease that is lost while a page waits for room keeps nothing of the budget", async () => {
  const { connector, clock, source, sink } = world();
  const permits = new Permits(1);
  sink.reserve = (count, signal) => permits.reserve(count, signal);
  sink.unreserve = (count) => permits.release(count);
  await connector.start();
  await clock.advance(0);
  source.give("shard-0", page([1, 2, 3, 4].map((number) => record(number, { data: Buffer.alloc(1000) }))));
  await clock.advance(10);
  assert.equal(sink.sent.length, 1);
  clock.freeze(20_000); // longer than the failover time: nothing was renewed
  // In one turn: receipts of other shards make room, and the sink asks before it writes.
  permits.release(100);
  assert.equal(sink.sent[0]!.delivery.isAlive(), false);
  sink.unacknowledged.length = 0;
  const stopped = connector.stop();
  await clock.advance(60_000);
  await stopped;
  assert.equal(connector.status().bufferedBytes, 0);
});

test("pipeline: a shard's end that was stored without an answer is not taken back by the stop behind it", async () => {
  const wrapStore = (store: LeaseStore): LeaseStore => {
    const update = async (leaseKey: string, counter: number, change: LeaseChange) => {
      const written = await store.update(leaseKey, counter, change);
      if (change.checkpoint?.sequenceNumber !== "SHARD_END") return written;
      throw new ConnectorError("no answer in time", { code: "AWS_UNAVAILABLE", retryable: true });
    };
    return new Proxy(store, {
      get(target, name) {
        if (name === "update") return update;
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
  const { connector, clock, source, sink, row } = world({ wrapStore });
  sink.acknowledgeAtOnce = true;
  await connector.start();
  await clock.advance(0);
  const shardEnd = { childShards: [child("c", ["shard-0"])] };
  source.give("shard-0", page([record(11)], { shardEnd }));
  await clock.advance(10);
  const stopped = connector.stop();
  await clock.advance(60_000);
  assert.deepEqual((await stopped).undrained, []);
  assert.equal((await row("shard-0"))?.checkpoint.sequenceNumber, "SHARD_END");
  assert.equal((await row("shard-0"))?.leaseOwner, undefined);
});
