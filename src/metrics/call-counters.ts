// What rooms report, as counters: calls by name, and what became of leases. Counters are kept by name, so that a report
// is a few additions.

import type { OperationReport, Telemetry } from "../core/telemetry.ts";
import type { Counter, MetricsRegistry } from "./registry.ts";

interface CallCounters {
  readonly calls: Counter;
  readonly failures: Counter;
  readonly seconds: Counter;
}

/** Counts into a registry: `calls_total`, `call_failures_total`, `call_seconds_total`, `leases_…_total`. */
export function countCalls(metrics: MetricsRegistry): Telemetry {
  const byStep = new Map<string, CallCounters>();
  const taken = metrics.counter("leases_taken_total", {}, "Leases that this process took");
  const lost = metrics.counter(
    "leases_lost_total",
    {},
    "Leases that this process lost: another one took them, or they could not be renewed in time",
  );
  const countersOf = (step: string): CallCounters => {
    const labels = { call: step };
    return {
      calls: metrics.counter("calls_total", labels, "Calls to AWS and to lifecycle hooks"),
      failures: metrics.counter("call_failures_total", labels, "Calls that failed, throttled ones included"),
      seconds: metrics.counter("call_seconds_total", labels, "Time that they took"),
    };
  };
  return {
    report({ step, durationMs, success, data }: OperationReport): void {
      if (data !== undefined) {
        taken.add(data["TakenLeases"] ?? 0);
        lost.add(data["LostLeases"] ?? 0);
      }
      if (step === undefined || durationMs === undefined) return;
      let counters = byStep.get(step);
      if (counters === undefined) byStep.set(step, counters = countersOf(step.replace(/^.*\./, "")));
      counters.calls.add();
      if (success === false) counters.failures.add();
      counters.seconds.add(durationMs / 1000);
    },
  };
}
