import assert from "node:assert/strict";
import { test } from "node:test";
import { prometheusText } from "../../src/metrics/prometheus.ts";
import { type MetricSnapshot, MetricsRegistry } from "../../src/metrics/registry.ts";

const options = { prefix: "kinesis_pulsar_", labels: { stream: "orders" } };

test("prometheus: help, type and series in the text format, with prefix and stream", () => {
  const metrics = new MetricsRegistry();
  metrics.counter("records_total", {}, "Records").add(3);
  metrics.gauge("lag_seconds", { shard: "shard-0" }, "How far behind").set(1.5);
  metrics.gauge("lag_seconds", { shard: "shard-1" }).set(0);
  assert.equal(
    prometheusText(metrics.snapshot(), options),
    [
      "# HELP kinesis_pulsar_lag_seconds How far behind",
      "# TYPE kinesis_pulsar_lag_seconds gauge",
      'kinesis_pulsar_lag_seconds{stream="orders",shard="shard-0"} 1.5',
      'kinesis_pulsar_lag_seconds{stream="orders",shard="shard-1"} 0',
      "# HELP kinesis_pulsar_records_total Records",
      "# TYPE kinesis_pulsar_records_total counter",
      'kinesis_pulsar_records_total{stream="orders"} 3',
      "",
    ].join("\n"),
  );
});

test("prometheus: quotes, backslashes and line breaks cannot break out of labels and help", () => {
  const metrics = new MetricsRegistry();
  metrics.gauge("odd", { why: 'a"b\\c\nd' }, "one\ntwo\\").set(1);
  assert.equal(
    prometheusText(metrics.snapshot(), { prefix: "", labels: {} }),
    '# HELP odd one\\ntwo\\\\\n# TYPE odd gauge\nodd{why="a\\"b\\\\c\\nd"} 1\n',
  );
});

test("prometheus: a metric of the process keeps its standard name, one without series says nothing, a name comes once", () => {
  const one = (name: string, value: number): MetricSnapshot => ({
    name,
    kind: "gauge",
    help: "",
    series: [{ labels: {}, value }],
  });
  const metrics = [one("process_x", 1), { ...one("empty", 0), series: [] }, one("a", 1), one("a", 2)];
  assert.equal(
    prometheusText(metrics, options),
    '# TYPE process_x gauge\nprocess_x 1\n# TYPE kinesis_pulsar_a gauge\nkinesis_pulsar_a{stream="orders"} 1\n',
  );
  assert.equal(prometheusText([], options), "");
});

test("prometheus: a metric's own label wins over the stream's", () => {
  const metrics = new MetricsRegistry();
  metrics.gauge("g", { stream: "mine" }).set(1);
  assert.match(prometheusText(metrics.snapshot(), options), /kinesis_pulsar_g\{stream="mine"\} 1/);
});
