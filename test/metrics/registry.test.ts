import assert from "node:assert/strict";
import { test } from "node:test";
import { MetricsRegistry } from "../../src/metrics/registry.ts";

test("metrics: counters add, gauges are set, labels tell series apart, a snapshot shows all by name", () => {
  const registry = new MetricsRegistry();
  registry.counter("records_total", { shard: "b" }, "Records read").add();
  registry.counter("records_total", { shard: "a" }).add(5);
  registry.counter("records_total", { shard: "b" }).add(2);
  registry.gauge("lag_ms").set(7);
  registry.gauge("lag_ms").set(-3);
  assert.deepEqual(registry.snapshot(), [
    { name: "lag_ms", kind: "gauge", help: "", series: [{ labels: {}, value: -3 }] },
    {
      name: "records_total",
      kind: "counter",
      help: "Records read",
      series: [{ labels: { shard: "b" }, value: 3 }, { labels: { shard: "a" }, value: 5 }],
    },
  ]);
});

test("metrics: the same name and labels, in any order, are the same counter", () => {
  const registry = new MetricsRegistry();
  assert.equal(registry.counter("x", { a: "1", b: "2" }), registry.counter("x", { b: "2", a: "1" }));
  assert.notEqual(registry.counter("x", { a: "1" }), registry.counter("x", { a: "2" }));
});

test("metrics: a snapshot does not change afterwards", () => {
  const registry = new MetricsRegistry();
  const counter = registry.counter("x");
  const before = registry.snapshot();
  counter.add();
  assert.equal(before[0]!.series[0]!.value, 0);
  assert.equal(counter.value, 1);
});

test("metrics: series of a label can be forgotten", () => {
  const registry = new MetricsRegistry();
  registry.gauge("lag_ms", { shard: "a" }).set(1);
  registry.gauge("lag_ms", { shard: "b" }).set(2);
  registry.remove({ shard: "a" });
  assert.deepEqual(registry.snapshot()[0]!.series, [{ labels: { shard: "b" }, value: 2 }]);
});

test("metrics: what would spoil a metric is refused in words", () => {
  const registry = new MetricsRegistry();
  const counter = registry.counter("x");
  assert.throws(() => counter.add(-1), /counter x can only grow, not by -1/);
  assert.throws(() => counter.add(NaN), RangeError);
  assert.throws(() => registry.gauge("g").set(Infinity), /gauge g must be a finite number/);
  assert.throws(() => registry.gauge("x"), /metric x is a counter already/);
  assert.throws(() => registry.counter("a-b"), /"a-b" is no name for a metric/);
  assert.throws(() => registry.counter("y", { "a b": "1" }), /no name for a label/);
});
