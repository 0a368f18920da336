// What a sink tells about its topics, as the log, the counters and the health get it. A connector under effectively once has a
// producer per shard and partition: each of them would say the same of a topic, so it is said once.

import type { ConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { SinkEvents } from "../pulsar/sink.ts";
import type { Health } from "./health.ts";
import type { Totals } from "./totals.ts";

// Hooks may name topics without end.
const MOST_TOPICS = 10_000;

/** The events of a connector's sink. */
export function sinkEvents(
  log: Logger,
  totals: Totals,
  health: Pick<Health, "topicFailed" | "topicConnected">,
  fatal: (error: ConnectorError) => void,
): SinkEvents {
  /** Topics of which it was said where they are published to, and nothing else since. */
  const told = new Set<string>();
  return {
    fatal,
    reconnecting(topic, error, delayMs) {
      told.delete(topic);
      health.topicFailed(topic, error);
      log.warn(`topic ${topic}: ${error.message}; trying again in ${delayMs} ms`, { code: error.code });
    },
    connected(topic, broker) {
      health.topicConnected(topic);
      if (told.size >= MOST_TOPICS) told.clear();
      log[told.has(topic) ? "debug" : "info"](`publishing to ${topic} at ${broker}`);
      told.add(topic);
    },
    duplicates: (_topic, count) => totals.duplicates.add(count),
  };
}
