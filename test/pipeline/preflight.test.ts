import { test } from "node:test";
import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import { whileThrottled } from "../../src/kinesis/throttle.ts";
import { MemoryLeaseStore } from "../../src/leases/memory.ts";
import { openLeaseTable } from "../../src/leases/preflight.ts";
import { patientTable } from "../../src/pipeline/patient-store.ts";
import { ensureLeases, withPatience } from "../../src/pipeline/preflight.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { FaultyStore, throttled } from "../leases/faulty-store.ts";
import { StreamModel } from "../leases/stream-model.ts";
import { StreamWorld } from "../leases/stream-world.ts";
import { STREAM } from "../leases/stores.ts";

function scope() {
  const clock = new FakeClock();
  return { clock, log: new RecordingLogger(), signal: new AbortController().signal };
}

test("start: a call that waits for itself while Kinesis throttles it has a minute too, and says what it waited for", async () => {
  const parts = scope();
  const describe = (signal: AbortSignal) =>
    whileThrottled(
      () => Promise.reject(throttled("DescribeStreamSummary")),
      { ...parts, backoffTimeMs: 3000 },
      signal,
    );
  const started = assert.rejects(withPatience(describe, parts), (error: unknown) => {
    assert.ok(error instanceof ConnectorError);
    assert.equal(error.code, "THROTTLED");
    assert.match(
      error.message,
      /gave up the start after 60 s: DescribeStreamSummary: throttled.*limits of this stream/,
    );
    return true;
  });
  await parts.clock.advance(59_999);
  assert.ok(parts.clock.sleeping > 0, "not before");
  await parts.clock.advance(1);
  await started;
  assert.equal(parts.clock.sleeping, 0);
});

test("start: a throttled call to the lease table is repeated alone, not the whole preflight with it", async () => {
  const parts = scope();
  const store = new FaultyStore(new MemoryLeaseStore(), parts.clock, 3333);
  let refusals = 5;
  store.plan = (call) =>
    call.operation === "Scan" && refusals-- > 0 ? { error: throttled("Scan") } : undefined;
  const opened = openLeaseTable({
    ...parts,
    store: patientTable(store, parts),
    stream: STREAM,
    tableWasChosen: false,
  });
  await parts.clock.advance(30_000);
  assert.deepEqual((await opened).leases, []);
  const count = (operation: string) => store.calls.filter((call) => call.operation === operation).length;
  assert.equal(count("Scan"), 6);
  assert.equal(count("ClientVersion"), 1);
  assert.equal(count("DescribeTable"), 2, "ours and Java's, once each");
  assert.equal(parts.clock.sleeping, 0);
});

test("start: every call of the preflight has its own minute", async () => {
  const parts = scope();
  const store = new FaultyStore(new MemoryLeaseStore(), parts.clock, 3333);
  store.plan = (call) =>
    parts.clock.monotonic() < (call.operation === "ClientVersion" ? 45_000 : 90_000)
      ? { error: throttled(call.operation) }
      : undefined;
  const table = patientTable(store, parts);
  const opened = openLeaseTable({ ...parts, store: table, stream: STREAM, tableWasChosen: true });
  await parts.clock.advance(100_000);
  assert.deepEqual((await opened).leases, []);
});

test("start: a call that is still waiting when the minute is over is told by what failed before it", async () => {
  const parts = scope();
  let calls = 0;
  const call = async (signal: AbortSignal) => {
    await parts.clock.sleep(++calls === 1 ? 50_000 : 1_000_000, signal);
    signal.throwIfAborted();
    throw new ConnectorError("the consumer is still being made", {
      code: "AWS_UNAVAILABLE",
      retryable: true,
    });
  };
  const started = assert.rejects(withPatience(call, parts), /after 60 s and 2 tries: the consumer is still/);
  await parts.clock.advance(60_000);
  await started;
});

test("start: in the middle of a reshard the shards are listed again, for a minute", async () => {
  for (const contradictMs of [5_000, Infinity]) {
    const world = new StreamWorld(new StreamModel(1));
    await world.streamRows("0");
    const [low] = world.stream.split("0");
    const whole = world.stream.listed();
    // Eventually consistent: the children are listed, and their parent as open still.
    const listed = () =>
      world.clock.monotonic() >= contradictMs
        ? whole
        : whole.map((shard) => shard.shardId === "0" ? { ...shard, endingSequenceNumber: undefined } : shard);
    const shards = {
      position: "TRIM_HORIZON" as const,
      list: () => Promise.resolve(listed()),
      listInitial: () => Promise.resolve(listed()),
    };
    const { coordinator } = world.worker("w", { shards });
    const { leases } = await world.store.scan();
    const log = new RecordingLogger();
    const started = ensureLeases({
      clock: world.clock,
      log,
      signal: new AbortController().signal,
      kinesis: { listShards: () => Promise.resolve(listed()) },
      leases,
      tableName: "t",
      coordinator,
    });
    const ended = contradictMs === Infinity
      ? assert.rejects(started, (error: ConnectorError) => error.message.includes(`shard ${low} is listed`))
      : started;
    await world.clock.advance(62_000);
    await ended;
    assert.match(log.messages("warn").join(), /in the middle of a reshard.*listing the shards again/);
    assert.equal(world.clock.sleeping, 0);
  }
});
