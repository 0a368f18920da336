// Chains of inline hooks for tests, on a clock that stands still.

import {
  createHookChain,
  type HookChain,
  type HookChainOptions,
  type PageRun,
} from "../../src/hooks/chain.ts";
import { inlineHooks, type LoadedHooks } from "../../src/hooks/load.ts";
import type { HookOutcome } from "../../src/hooks/outcome.ts";
import type { Hooks } from "../../src/hooks/types.ts";
import type { SinkMessage, UserRecord } from "../../src/core/record.ts";
import { MetricsRegistry } from "../../src/metrics/registry.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";

/** A script of a test chain: hooks and how to call them. */
export type TestScript = Hooks & { readonly with?: Partial<Omit<LoadedHooks, "hooks">> };

/** A chain and what it leaves behind. */
export interface TestChain {
  readonly chain: HookChain;
  readonly clock: FakeClock;
  readonly log: RecordingLogger;
  readonly metrics: MetricsRegistry;
  /** Stops the connector at once. */
  readonly abort: AbortController;
  /** The value of a counter or gauge over all its series. */
  metric(name: string): number;
  run(records: readonly UserRecord[], signal?: AbortSignal): PageRun;
  /** All outcomes of a page. */
  outcomes(records: readonly UserRecord[]): Promise<HookOutcome[]>;
}

/** Makes a chain of these scripts. */
export function testChain(
  scripts: readonly TestScript[],
  options: Partial<HookChainOptions> = {},
): TestChain {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const metrics = new MetricsRegistry();
  const abort = new AbortController();
  const chain = createHookChain({
    scripts: scripts.map(({ with: settings, ...hooks }, index) =>
      inlineHooks(hooks, { name: `script-${index + 1}.ts`, ...settings })
    ),
    topic: "out",
    messageKeyMode: "PARTITION_KEY",
    kinesisRecordProperties: ["kinesis.sequence.number"],
    eventTime: "arrival",
    streamName: "orders",
    log,
    metrics,
    clock,
    runtime: "node",
    signal: abort.signal,
    ...options,
  });
  const run = (records: readonly UserRecord[], signal: AbortSignal = new AbortController().signal): PageRun =>
    chain.processPage(records, { shardId: "shardId-000000000007", millisBehindLatest: 1500 }, signal);
  return {
    chain,
    clock,
    log,
    metrics,
    abort,
    metric: (name) =>
      metrics.snapshot().filter((one) => one.name === name)
        .flatMap((one) => one.series).reduce((sum, { value }) => sum + value, 0),
    run,
    outcomes: (records) => drain(run(records)),
  };
}

/** Takes all outcomes of a run. */
export async function drain(run: PageRun): Promise<HookOutcome[]> {
  const all: HookOutcome[] = [];
  for (;;) {
    const next = await run.next();
    if (next === undefined) return all;
    all.push(...next);
  }
}

/** Records with these payloads, numbered from 1. */
export function records(...payloads: readonly (string | Uint8Array)[]): UserRecord[] {
  return payloads.map((payload, index) => ({
    data: typeof payload === "string" ? new TextEncoder().encode(payload) : payload,
    partitionKey: `key-${index + 1}`,
    sequenceNumber: String(index + 1),
    approximateArrivalTimestamp: 1_551_814_138_000 + index,
    encryptionType: "NONE",
    subSequenceNumber: 0,
    last: true,
  }));
}

/** Payloads as text: null for a dropped record, an array for several messages. */
export function texts(outcomes: readonly HookOutcome[]): unknown[] {
  const text = (message: SinkMessage): string => new TextDecoder().decode(message.data);
  return outcomes.map((outcome) =>
    outcome === null ? null : Array.isArray(outcome) ? outcome.map(text) : text(outcome as SinkMessage)
  );
}
