// Metrics in CloudWatch, in the KCL's names. Gathers what is reported and sends it every ten seconds, beside the flow:
// nothing waits for it, no failure of it reaches anybody but the log, and what is gathered is bounded.

import type { CloudWatchClient, CloudWatchClientConfig } from "@aws-sdk/client-cloudwatch";
import type { Clock } from "../core/clock.ts";
import { type ConnectorError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { OperationReport } from "../core/telemetry.ts";
import { withinTime } from "../core/time-limit.ts";
import { orAborted } from "../core/until-aborted.ts";
import { toConnectorError } from "./cloudwatch-errors.ts";
import { kclData, type MetricsLevel } from "./kcl-names.ts";
import type { MetricsPublisher } from "./publisher.ts";
import { Statistics, type StatisticSet } from "./statistics.ts";

/** A throttled call, in the words of `onThrottle` hooks. */
export interface MetricsThrottle {
  readonly service: "cloudwatch";
  readonly operation: "PutMetricData";
  /** Counts from 1; back to 1 after a success. */
  readonly attempt: number;
  /** The delay that will follow, milliseconds. */
  readonly delayMs: number;
}

/** Options of {@link CloudWatchPublisher}. */
export interface CloudWatchOptions {
  readonly namespace: string;
  readonly level: MetricsLevel;
  /** The dimension `WorkerIdentifier`. */
  readonly workerId: string;
  readonly onThrottle: (
    throttle: MetricsThrottle,
  ) => Promise<number | undefined> | number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

/** One PutMetricData. Rejects with a ConnectorError. */
export type PutMetrics = (sets: readonly StatisticSet[], signal: AbortSignal) => Promise<void>;

/** As the KCL. */
const SEND_EVERY_MS = 10_000;
/** As the KCL. */
const CALL_TIMEOUT_MS = 5_000;
const LAST_CALLS_MS = 2_000;
/** The service takes 1000, but not more than 1 MB: with long names a set takes a KB. */
const SETS_PER_CALL = 500;
/** What could not be sent is tried again for so long. */
const KEEP_MS = 300_000;
/** What no waiting cures is tried again after so long: a permission may be given while we run. */
const REFUSED_PAUSE_MS = 300_000;
const SAY_AGAIN_MS = 3_600_000;

/** Opens a publisher that uses the SDK, which is loaded here. */
export async function openCloudWatch(
  options: CloudWatchOptions & { readonly clientConfig: CloudWatchClientConfig },
): Promise<MetricsPublisher> {
  const { CloudWatchClient, PutMetricDataCommand } = await import("@aws-sdk/client-cloudwatch");
  const { namespace } = options;
  const client: CloudWatchClient = new CloudWatchClient({ ...options.clientConfig, maxAttempts: 1 });
  const put: PutMetrics = async (sets, abortSignal) => {
    const MetricData = sets.map(({ name, unit, dimensions, minute, count, sum, min, max }) => ({
      MetricName: name,
      Unit: unit,
      Dimensions: dimensions.map(([Name, Value]) => ({ Name, Value })),
      Timestamp: new Date(minute),
      StatisticValues: { SampleCount: count, Sum: sum, Minimum: min, Maximum: max },
    }));
    try {
      await client.send(new PutMetricDataCommand({ Namespace: namespace, MetricData }), { abortSignal });
    } catch (error) {
      throw toConnectorError(error, namespace);
    }
  };
  return new CloudWatchPublisher(options, put, () => client.destroy());
}

/** See the top of this file. Sends from its making until {@link CloudWatchPublisher.close}. */
export class CloudWatchPublisher implements MetricsPublisher {
  readonly #options: CloudWatchOptions;
  readonly #put: PutMetrics;
  readonly #ended: () => void;
  readonly #gathered = new Statistics();
  readonly #closing = new AbortController();
  /** Aborted when nothing may be sent any more. */
  readonly #closed = new AbortController();
  readonly #loop: Promise<void>;
  /** In a row. */
  #failures = 0;
  #saidAt = -Infinity;

  /** @param ended called when nothing more will be sent */
  constructor(options: CloudWatchOptions, put: PutMetrics, ended: () => void = () => {}) {
    this.#options = options;
    this.#put = put;
    this.#ended = ended;
    this.#loop = this.#sendForEver();
  }

  report(report: OperationReport): void {
    const { level, workerId, clock } = this.#options;
    const now = clock.now();
    for (const datum of kclData(report, level, workerId)) this.#gathered.add(datum, now);
  }

  async close(): Promise<void> {
    const { clock, log } = this.#options;
    this.#closing.abort();
    const last = async () => {
      await this.#loop;
      await this.#send();
    };
    try {
      await withinTime(clock, LAST_CALLS_MS, last, () => new Error(`no answer within ${LAST_CALLS_MS} ms`));
    } catch (error) {
      log.warn(`the last metrics were not sent to CloudWatch: ${messageOf(error)}`);
    }
    this.#closed.abort();
    this.#ended();
  }

  async #sendForEver(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#closing;
    let delayMs = SEND_EVERY_MS;
    for (;;) {
      await clock.sleep(delayMs, signal);
      if (signal.aborted) return;
      delayMs = await this.#send();
    }
  }

  /** Sends what was gathered; returns when to send again, in milliseconds. Never rejects. */
  async #send(): Promise<number> {
    const { clock } = this.#options;
    const { signal } = this.#closed;
    const sets = this.#gathered.take();
    for (let from = 0; from < sets.length && !signal.aborted; from += SETS_PER_CALL) {
      try {
        await this.#call(sets.slice(from, from + SETS_PER_CALL));
      } catch (thrown) {
        if (signal.aborted) return SEND_EVERY_MS; // close() has said it
        const error = toConnectorError(thrown, this.#options.namespace);
        if (error.retryable) this.#gathered.putBack(sets.slice(from), clock.now() - KEEP_MS);
        return await this.#failed(error);
      }
    }
    if (sets.length > 0) this.#succeeded();
    return SEND_EVERY_MS;
  }

  async #call(sets: readonly StatisticSet[]): Promise<void> {
    const late = () =>
      Object.assign(new Error(`no answer within ${CALL_TIMEOUT_MS} ms`), { name: "TimeoutError" });
    const put = (inTime: AbortSignal) => {
      const signal = AbortSignal.any([inTime, this.#closed.signal]);
      return orAborted(this.#put(sets, signal), signal);
    };
    await withinTime(this.#options.clock, CALL_TIMEOUT_MS, put, late);
  }

  async #failed(error: ConnectorError): Promise<number> {
    const { clock, log, onThrottle } = this.#options;
    this.#failures++;
    const delayMs = error.retryable ? SEND_EVERY_MS : REFUSED_PAUSE_MS;
    const now = clock.monotonic();
    const message = `${error.message}; records flow on without these metrics`;
    if (now - this.#saidAt >= SAY_AGAIN_MS) {
      this.#saidAt = now;
      log.warn(message, { code: error.code });
    } else log.debug(message, { code: error.code });
    if (error.code !== "THROTTLED") return delayMs;
    const throttle = {
      service: "cloudwatch",
      operation: "PutMetricData",
      attempt: this.#failures,
      delayMs,
    } as const;
    try {
      const wanted = await onThrottle(throttle);
      return Math.max(wanted ?? delayMs, SEND_EVERY_MS); // what waits is sent at once then: sooner is not more
    } catch (thrown) {
      log.warn(`onThrottle failed: ${messageOf(thrown)}`);
      return delayMs;
    }
  }

  #succeeded(): void {
    if (this.#failures > 0) this.#options.log.info("CloudWatch takes metrics again");
    this.#failures = 0;
    this.#saidAt = -Infinity;
  }
}
