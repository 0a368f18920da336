// Opens a connector's parts in the order in which what is wrong can be told best. Each part is entered into `opened`
// as soon as it exists, so that a stop in the middle closes what there is.

import { ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Telemetry } from "../core/telemetry.ts";
import type { HookChain } from "../hooks/chain.ts";
import type { OnThrottle, RecordSource } from "../kinesis/source.ts";
import { LeaseCoordinator, type LeaseCoordinatorOptions } from "../leases/coordinator.ts";
import { refuseLiveOwners } from "../leases/live-owners.ts";
import { MeasuredLeaseStore } from "../leases/measured-store.ts";
import { openLeaseTable } from "../leases/preflight.ts";
import type { LeaseStore } from "../leases/store.ts";
import { newWorkerId } from "../leases/worker-id.ts";
import type { HttpEndpoint, Observed } from "../metrics/http.ts";
import type { MetricsPublisher } from "../metrics/publisher.ts";
import type { MessageSink, SinkEvents } from "../pulsar/sink.ts";
import type { ConnectorOptions, ConnectorParts, KinesisStream, StreamDescription } from "./parts.ts";
import { patientTable } from "./patient-store.ts";
import { ensureLeases, listCompletely, type StartScope, withPatience } from "./preflight.ts";
import type { OnceSettings } from "./shard-generation.ts";

/** What is open so far. */
export interface Opened {
  http?: HttpEndpoint | undefined;
  publisher?: MetricsPublisher | undefined;
  hooks?: HookChain;
  once?: OnceSettings | undefined;
  kinesis?: KinesisStream;
  stream?: StreamDescription;
  store?: LeaseStore;
  source?: RecordSource;
  coordinator?: LeaseCoordinator;
  sink?: MessageSink;
}

/** What the parts tell the connector. */
export interface OpeningEvents
  extends Pick<LeaseCoordinatorOptions, "onAcquired" | "onLost" | "onGiveUp" | "onFault"> {
  readonly sink: SinkEvents;
}

/** Options of {@link openParts}. */
export interface OpeningOptions {
  readonly parts: ConnectorParts;
  readonly options: ConnectorOptions;
  readonly scope: StartScope & { readonly onThrottle: OnThrottle };
  readonly events: OpeningEvents;
  readonly telemetry: Telemetry;
  /** What is shown over HTTP. */
  readonly observed: Observed;
  /** Aborted when the connector stops at once: for hooks. */
  readonly stopNow: AbortSignal;
}

/**
 * Opens everything, up to the first word of `onStart`. The coordinator is made, not started.
 * @throws ConnectorError what prevents the start
 */
export async function openParts(
  opened: Opened,
  opening: OpeningOptions,
): Promise<Required<Opened>> {
  const { parts, options, scope, events, stopNow, telemetry } = opening;
  const { clock, log, signal, onThrottle } = scope;
  const { streamName, until, tableWasChosen, failoverTimeMs, topic, deadLetterTopic } = options;
  const position = options.initialPosition;
  const workerId = (parts.newWorkerId ?? newWorkerId)();
  const http = opened.http = await parts.openHttp?.(opening.observed);
  const hooks = opened.hooks = await parts.openHooks(stopNow);
  signal.throwIfAborted();
  const once = opened.once = await parts.once?.();
  const kinesis = opened.kinesis = await parts.openKinesis(onThrottle, telemetry);
  const stream = opened.stream = await withPatience((inTime) => kinesis.describe(inTime), scope);
  const publisher = opened.publisher = await parts.openPublisher?.(workerId, onThrottle);
  const store = opened.store = new MeasuredLeaseStore(await parts.openLeaseStore(), { telemetry, clock });
  const patient = patientTable(store, scope);
  const { leases } = await openLeaseTable({ store: patient, stream, tableWasChosen, ...scope });
  const observations = until === undefined
    ? undefined
    : await refuseLiveOwners({ store: patient, ...scope, observeMs: failoverTimeMs });
  const source = opened.source = await withPatience(
    async (inTime) => await kinesis.openSource(inTime),
    scope,
  );
  const coordinator = opened.coordinator = new LeaseCoordinator({
    workerId,
    failoverTimeMs,
    store,
    stream,
    shards: {
      position: position.type,
      list: (ended) =>
        withPatience((inTime) => kinesis.listShards(undefined, inTime), { ...scope, signal: ended }),
      listInitial: (ended) =>
        withPatience(
          (inTime) => listCompletely({ kinesis, position, signal: inTime, clock, stream }),
          { ...scope, signal: ended },
        ),
    },
    clock,
    log,
    kinesisNow: () => kinesis.now(),
    ...events,
    observations,
    onThrottle,
    telemetry,
  });
  const { tableName } = store;
  await ensureLeases({ ...scope, kinesis, leases, tableName, coordinator });
  const sink = opened.sink = await parts.openSink(events.sink);
  await withPatience(() => sink.open(topic, signal), scope);
  if (deadLetterTopic !== undefined) {
    const open = () => sink.open(deadLetterTopic, signal);
    await withPatience(() => open().catch((error) => Promise.reject(ofDeadLetters(error))), scope);
  }
  await hooks.start({ streamName });
  signal.throwIfAborted();
  return { http, publisher, hooks, once, kinesis, stream, store, source, coordinator, sink };
}

/** The dead-letter topic's trouble, so that it is not looked for at `pulsar.topic`. */
function ofDeadLetters(error: unknown): ConnectorError {
  const known = toConnectorError(error);
  const { code, retryable, where } = known;
  const message = `the topic for dead letters (deadLetter.topic) cannot be opened: ${known.message}`;
  return new ConnectorError(message, { code, retryable, where, cause: known });
}
