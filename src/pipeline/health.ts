// Whether the process is alive and able to work, and if not, why. Listens to what the rooms report; decides by how long
// something has failed, so that a blip changes nothing.

import type { Clock } from "../core/clock.ts";
import type { ConnectorError, ErrorCode } from "../core/errors.ts";
import type { OperationReport } from "../core/telemetry.ts";
import type { ConnectorStatus } from "./status.ts";

/** One answer, with the reasons where it is no. */
export interface HealthState {
  readonly ok: boolean;
  readonly reasons: readonly string[];
}

/** The answers of `/livez` and `/readyz`. */
export interface ConnectorHealth {
  /** The process does what it can; false: only a new start helps. */
  readonly live: HealthState;
  /** Started, not stopping, and neither Kinesis nor DynamoDB nor Pulsar has failed for long. */
  readonly ready: HealthState;
}

/** Trouble that is older than this is not a blip. */
const LASTING_MS = 30_000;
/** Trouble of which nothing was heard for so long is over: whoever had it does not try any more. */
const FORGOTTEN_MS = 180_000;
/** How often a beat is due. */
const BEAT_MS = 5_000;
const LATEST_BEAT_MS = 30_000;
// The lease loops report at least every two failover times; a call that gets no answer and the pause after it take at
// most fifteen seconds.
const LATEST_ROUND_MS = 120_000;
const LATEST_ROUND_FAILOVERS = 6;
/** So many new readers in a row that gave no page are not Kinesis' doing. */
const READERS_IN_VAIN = 3;

/** Failures that say nothing of the service's health. */
const HARMLESS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "THROTTLED",
  "ITERATOR_EXPIRED",
  "SHARD_NOT_FOUND",
]);

type Service = "Kinesis" | "DynamoDB" | "Pulsar";

interface Trouble {
  readonly service: Service;
  readonly since: number;
  readonly at: number;
  readonly error: ConnectorError;
}

/** What is known of a connector's health. */
export class Health {
  readonly #clock: Clock;
  readonly #latestRoundMs: number;
  /** By `service/shard or topic`. */
  readonly #troubles = new Map<string, Trouble>();
  /** When each lease loop last reported. */
  readonly #rounds = new Map<string, number>();
  readonly #readersInVain = new Set<string>();
  #beatAt: number | undefined;

  /** @param failoverTimeMs `leases.failoverTimeMs` */
  constructor(clock: Clock, failoverTimeMs: number) {
    this.#clock = clock;
    this.#latestRoundMs = Math.max(LATEST_ROUND_MS, LATEST_ROUND_FAILOVERS * failoverTimeMs);
  }

  /** Beats until the signal aborts. */
  async beat(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#beatAt = this.#clock.monotonic();
      await this.#clock.sleep(BEAT_MS, signal);
    }
    this.#beatAt = undefined;
  }

  report({ operation, step, shardId, success, error }: OperationReport): void {
    const isTakeLoop = operation === "TakeLeases" && (step === undefined || step === "ListLeases");
    if (isTakeLoop || operation === "RenewAllLeases" && step === undefined) {
      this.#rounds.set(operation, this.#clock.monotonic());
    }
    if (step === undefined || success === undefined) return;
    // A subscription that stands proves nothing before its first event.
    const key = step.startsWith("KinesisDataFetcher.") || step === "SubscribeToShard.event"
      ? `Kinesis/${shardId}`
      : /Lease$/.test(step) || step === "ListLeases"
      ? "DynamoDB/"
      : undefined;
    if (key === undefined) return;
    if (success) this.#troubles.delete(key);
    else if (error !== undefined) this.#note(key.startsWith("K") ? "Kinesis" : "DynamoDB", key, error);
  }

  topicFailed(topic: string, error: ConnectorError): void {
    this.#note("Pulsar", `Pulsar/${topic}`, error);
  }

  topicConnected(topic: string): void {
    this.#troubles.delete(`Pulsar/${topic}`);
  }

  /** A shard's reader was opened anew so often in a row without a page. */
  readerReopened(shardId: string, inARow: number): void {
    if (inARow >= READERS_IN_VAIN) this.#readersInVain.add(shardId);
    else this.#readersInVain.delete(shardId);
  }

  /** A shard is not read any more. */
  forget(shardId: string): void {
    this.#troubles.delete(`Kinesis/${shardId}`);
    this.#readersInVain.delete(shardId);
  }

  /** Why reads of a shard fail at present; throttles too. A reader that fell silent after a failure has none. */
  troubleOf(shardId: string): ConnectorError | undefined {
    const trouble = this.#troubles.get(`Kinesis/${shardId}`);
    if (trouble === undefined || this.#clock.monotonic() - trouble.at > FORGOTTEN_MS) return undefined;
    return trouble.error;
  }

  /** As things stand. */
  at(state: ConnectorStatus["state"], failure: ConnectorError | undefined): ConnectorHealth {
    const live = this.#faults(state, failure);
    const ready = state !== "running" ? [state, ...live] : [...live, ...this.#lasting()];
    return {
      live: { ok: live.length === 0, reasons: live },
      ready: { ok: ready.length === 0, reasons: ready },
    };
  }

  #faults(state: ConnectorStatus["state"], failure: ConnectorError | undefined): string[] {
    const now = this.#clock.monotonic();
    const faults: string[] = [];
    if (state === "stopped" && failure !== undefined) faults.push(`failed: ${failure.message}`);
    if (this.#beatAt !== undefined && now - this.#beatAt > LATEST_BEAT_MS) {
      faults.push(`the process stood still for ${seconds(now - this.#beatAt)}`);
    }
    if (state === "running") {
      for (const [loop, at] of this.#rounds) {
        if (now - at > this.#latestRoundMs) {
          faults.push(`the loop ${loop} has not run for ${seconds(now - at)}`);
        }
      }
      for (const shardId of this.#readersInVain) {
        faults.push(`shard ${shardId} cannot be read, and nothing says why`);
      }
    }
    return faults;
  }

  /** One line per service: an outage hits all shards at once. */
  #lasting(): string[] {
    const now = this.#clock.monotonic();
    const byService = new Map<Service, Trouble[]>();
    for (const [key, trouble] of this.#troubles) {
      if (now - trouble.at > FORGOTTEN_MS) this.#troubles.delete(key);
      else if (now - trouble.since >= LASTING_MS && !HARMLESS.has(trouble.error.code)) {
        byService.set(trouble.service, [...byService.get(trouble.service) ?? [], trouble]);
      }
    }
    return Array.from(byService, ([service, troubles]) => {
      const oldest = troubles.reduce((a, b) => a.since <= b.since ? a : b);
      const others = troubles.length > 1 ? ` (and ${troubles.length - 1} more like it)` : "";
      return `${service} fails for ${seconds(now - oldest.since)}: ${oldest.error.message}${others}`;
    });
  }

  #note(service: Service, key: string, error: ConnectorError): void {
    const now = this.#clock.monotonic();
    const before = this.#troubles.get(key);
    const goesOn = before !== undefined && now - before.at <= FORGOTTEN_MS;
    this.#troubles.set(key, { service, since: goesOn ? before.since : now, at: now, error });
  }
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
