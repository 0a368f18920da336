// What the process needs, in the names that Prometheus' client libraries give it.

import type { MetricSnapshot } from "./registry.ts";

/** Of one process, as the runtime tells it. */
export interface ProcessUsage {
  readonly residentBytes: number;
  /** User and system time, seconds. */
  readonly cpuSeconds: number;
  /** Epoch milliseconds. */
  readonly startedAt: number;
}

/** `process_…` metrics. */
export function processMetrics({ residentBytes, cpuSeconds, startedAt }: ProcessUsage): MetricSnapshot[] {
  const one = (value: number) => [{ labels: {}, value }];
  return [
    {
      name: "process_resident_memory_bytes",
      kind: "gauge",
      help: "Resident memory",
      series: one(residentBytes),
    },
    { name: "process_cpu_seconds_total", kind: "counter", help: "CPU time", series: one(cpuSeconds) },
    {
      name: "process_start_time_seconds",
      kind: "gauge",
      help: "When the process started",
      series: one(startedAt / 1000),
    },
  ];
}
