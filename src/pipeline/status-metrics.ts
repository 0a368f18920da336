// A connector's status as gauges, made when somebody asks: a shard that is finished or lost leaves no series behind.
// Times are seconds, as Prometheus has them.

import type { Labels, MetricSnapshot, SeriesSnapshot } from "../metrics/registry.ts";
import type { ConnectorHealth } from "./health.ts";
import type { ConnectorStatus, ShardState, ShardStatus } from "./status.ts";

const STATES: readonly ConnectorStatus["state"][] = ["starting", "running", "stopping", "stopped"];
const SHARD_STATES: readonly ShardState[] = [
  "waiting-for-parents",
  "starting",
  "processing",
  "ending",
  "done",
  "stopping",
  "lost",
];

/** The metrics that a status says. */
export function statusMetrics(status: ConnectorStatus, health: ConnectorHealth): MetricSnapshot[] {
  const { shards } = status;
  const held = shards.filter(({ state }) => state !== "lost");
  const perShard = (value: (shard: ShardStatus) => number | undefined): SeriesSnapshot[] =>
    held.flatMap((shard) => {
      const number = value(shard);
      return number === undefined ? [] : [{ labels: { shard: shard.shardId }, value: number }];
    });
  const lag = status.millisBehindLatest;
  return [
    gauge(
      "state",
      "1 for the state that the connector is in",
      STATES.map((state) => ({
        labels: { state },
        value: status.state === state ? 1 : 0,
      })),
    ),
    gauge("live", "1 while /livez says yes", one(health.live.ok ? 1 : 0)),
    gauge("ready", "1 while /readyz says yes", one(health.ready.ok ? 1 : 0)),
    gauge("lag_seconds", "How far the shard that is farthest behind is behind its tip", [
      ...lag === undefined ? [] : one(lag / 1000),
    ]),
    gauge("leases", "Leases that this process holds, those of finished shards included", one(status.leases)),
    gauge(
      "shards",
      "Shards that this process holds, by what it does with them",
      SHARD_STATES.map((state) => ({
        labels: { state },
        value: shards.filter((shard) => shard.state === state).length,
      })),
    ),
    gauge(
      "buffered_bytes",
      "Bytes of records read or asked for that are not finished",
      one(status.bufferedBytes),
    ),
    gauge("pending_messages", "Messages that Pulsar has not acknowledged", one(status.pendingMessages)),
    gauge(
      "shard_lag_seconds",
      "How far the last page that was handed to Pulsar is behind the shard's tip (millisBehindLatest)",
      perShard(({ millisBehindLatest }) => inSeconds(millisBehindLatest)),
    ),
    gauge(
      "shard_seconds_until_expiry",
      "How long the stream still keeps the shard's oldest record that is not in Pulsar yet (nor dropped or a dead " +
        "letter): its retention less that record's age; below 0 records are lost",
      perShard(({ millisUntilExpiry }) => inSeconds(millisUntilExpiry)),
    ),
    gauge(
      "shard_in_flight_records",
      "Records handed to Pulsar that no checkpoint can pass yet",
      perShard(({ inFlight }) => inFlight),
    ),
    gauge(
      "shard_checkpoint_age_seconds",
      "Since a checkpoint was stored, or looked for and found up to date",
      perShard(({ checkpointAgeMs }) => inSeconds(checkpointAgeMs)),
    ),
    counter(
      "shard_records_total",
      "Records of the shard since this process took its lease",
      perShard(({ records }) => records),
    ),
    counter("shard_bytes_total", "Bytes of their data as read", perShard(({ bytes }) => bytes)),
  ];
}

function inSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}

function one(value: number, labels: Labels = {}): SeriesSnapshot[] {
  return [{ labels, value }];
}

function gauge(name: string, help: string, series: readonly SeriesSnapshot[]): MetricSnapshot {
  return { name, kind: "gauge", help, series };
}

function counter(name: string, help: string, series: readonly SeriesSnapshot[]): MetricSnapshot {
  return { name, kind: "counter", help, series };
}
