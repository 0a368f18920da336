// One shard under one lease: waits for its parents, reads, runs the hooks, publishes, checkpoints, ends. Two loops
// with a queue between them, so that the next read goes on while the last page is published.

import { setMaxListeners } from "node:events";
import { ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Position } from "../core/position.ts";
import type { RecordPage } from "../core/record.ts";
import { type ChildShard, FULL_HASH_RANGE, type HashKeyRange } from "../core/shard.ts";
import { measured } from "../core/telemetry.ts";
import { untilAborted } from "../core/until-aborted.ts";
import type { HeldLease } from "../leases/held-lease.ts";
import { type PageRecords, pageRecords } from "./page-records.ts";
import { PageQueue } from "./page-queue.ts";
import type { ConsumerParts } from "./parts.ts";
import type { PageSizes } from "./read-budget.ts";
import { ShardCheckpoints } from "./shard-checkpoints.ts";
import { ShardDelivery } from "./shard-delivery.ts";
import { type EndingShard, finishShard } from "./shard-end.ts";
import { ShardGeneration } from "./shard-generation.ts";
import { ShardReading } from "./shard-reading.ts";
import type { ShardActivity, Waiting, WaitsFor } from "./stall.ts";
import { startPosition } from "./start-position.ts";
import type { ShardState, ShardStatus } from "./status.ts";
import { UnreadAge } from "./unread-age.ts";

/** How a consumer ended. */
export type ConsumerEnd =
  /** SHARD_END is stored. */
  | "shard-end"
  /** The time of a bounded run is reached; what is in flight may still be acknowledged. */
  | "until"
  /** Asked to stop; what is in flight may still be acknowledged. */
  | "stopped"
  /** The lease is not ours any more. */
  | "lost";

interface QueuedPage {
  readonly page: RecordPage;
  /** Kinesis' clock before the page was asked for, or made. */
  readonly askedAt: number;
  /** Kinesis' clock when it had come. */
  readonly receivedAt: number;
}

/** The consumer of one held lease. Run it once. */
export class ShardConsumer {
  readonly shardId: string;
  readonly delivery: ShardDelivery;
  readonly checkpoints: ShardCheckpoints;
  readonly #lease: HeldLease;
  readonly #parts: ConsumerParts;
  /** Under effectively-once. */
  readonly #generation: ShardGeneration | undefined;
  readonly #pages = new PageQueue<QueuedPage>();
  readonly #stop = new AbortController();
  /** Aborted by a stop, and by the loss of the lease. */
  readonly #signal: AbortSignal;
  readonly #sizes: PageSizes = {};
  readonly #range: HashKeyRange;
  readonly #age = new UnreadAge();
  #reading: ShardReading | undefined;
  /** Whom the publisher waits for. */
  #waiting: Waiting | undefined;
  #state: ShardState = "waiting-for-parents";
  #millisBehindLatest: number | undefined;
  /** Records at or before it were finished by an earlier run. */
  #resumeAfter: Position | undefined;
  #records = 0;
  #bytes = 0;

  constructor(lease: HeldLease, parts: ConsumerParts) {
    this.shardId = lease.shardId;
    this.delivery = new ShardDelivery({ ...parts, lease });
    this.#generation = parts.once && new ShardGeneration(lease, this.delivery, parts, parts.once);
    this.checkpoints = new ShardCheckpoints(lease, this.delivery, parts, this.#generation);
    this.#lease = lease;
    this.#parts = parts;
    this.#signal = AbortSignal.any([this.#stop.signal, lease.lost]);
    setMaxListeners(0, this.#signal); // each asynchronous hook call that uses its signal listens
    const { startingHashKey, endingHashKey } = lease.lease;
    this.#range = startingHashKey !== undefined && endingHashKey !== undefined
      ? { startingHashKey, endingHashKey }
      : FULL_HASH_RANGE;
  }

  /** Works until the shard's end, a stop, or the loss of the lease. Rejects with what waiting does not cure. */
  async run(): Promise<ConsumerEnd> {
    const operation = "BlockOnParentShardTask";
    const ready = await measured(
      this.#parts,
      { operation },
      () => this.#parts.leases.waitForParents(this.#lease, this.#signal),
    );
    const end = ready ? await this.#readAndPublish() : this.#interrupted();
    if (end === "shard-end" || end === "until") this.#state = "done";
    return end;
  }

  /** Stops reading and publishing; run() then ends. What was handed to the sink goes on. */
  stop(): void {
    if (this.#state !== "done") this.#state = "stopping";
    this.#stop.abort();
    this.#pages.close();
  }

  /** Nothing is in flight, and how far it came is stored; or the shard is no longer ours to care for. */
  get isClean(): boolean {
    if (this.#lease.lost.aborted || this.#lease.isFinished) return true;
    return this.delivery.size === 0 && this.checkpoints.isUpToDate;
  }

  /** Records of the shard are being read or waited for. */
  get isReading(): boolean {
    const { state } = this.status();
    return state === "starting" || state === "processing" || state === "ending";
  }

  status(): ShardStatus {
    const { clock, kinesisNow, retentionMs } = this.#parts;
    const unreadMs = this.#state === "done" ? undefined : this.#age.at(kinesisNow(), this.delivery.first);
    const retention = retentionMs();
    return {
      shardId: this.shardId,
      state: this.#lease.lost.aborted ? "lost" : this.#state,
      millisBehindLatest: this.#millisBehindLatest,
      millisUntilExpiry: unreadMs === undefined || retention === undefined ? undefined : retention - unreadMs,
      inFlight: this.delivery.size,
      checkpoint: this.#lease.lease.checkpoint.sequenceNumber,
      checkpointAgeMs: clock.monotonic() - this.checkpoints.upToDateAt,
      records: this.#records,
      bytes: this.#bytes,
    };
  }

  /** What {@link findStalls} wants to know; undefined while nothing is to be read or published. */
  activity(): Omit<ShardActivity, "trouble"> | undefined {
    if (!this.isReading) return undefined;
    const isAllRead = this.#state === "ending" || this.#pages.isClosed;
    return {
      shardId: this.shardId,
      readingSince: isAllRead ? undefined : this.#reading?.progressAt,
      reopened: this.#reading?.reopened ?? 0,
      waitsForRoomSince: isAllRead ? undefined : this.#reading?.waitsForRoomSince,
      publisher: this.#waiting,
      first: this.delivery.first,
      inFlight: this.delivery.size,
    };
  }

  /** Opens another reader in the place of one that gives nothing. */
  reopenReader(): void {
    this.#reading?.reopen();
  }

  async #readAndPublish(): Promise<ConsumerEnd> {
    this.#state = "starting";
    const row = this.#lease.lease;
    this.#generation?.start(row);
    const { start, restart, resumeAfter, from } = startPosition(row, {
      connectLatestOnce: this.#lease.connectLatestOnce,
      startAtTime: this.#parts.startAtTime,
    });
    this.#resumeAfter = resumeAfter;
    let started: Promise<void> | undefined;
    let startFailure: { readonly error: unknown } | undefined;
    const { source, clock, budget } = this.#parts;
    const reading = this.#reading = new ShardReading({
      source,
      clock,
      admit: (signal, bytes) => budget.admit(this.#sizes, signal, bytes),
      shardId: this.shardId,
      start,
      restart,
      until: this.#parts.until,
      isHeld: () => this.#lease.isAlive(),
      signal: this.#signal,
      onConnected: () => {
        if (this.#state === "starting") this.#state = "processing";
        started = this.#announceStart(from);
        started.catch((error) => {
          startFailure = { error };
          this.stop();
        });
      },
    });
    const reads = this.#read(reading).finally(() => this.#pages.close());
    const publishing = this.#publishPages(() => started).finally(() => this.#stop.abort());
    // Both are over before a failure is told, and before unpublished pages give their budget back: one may have come
    // after the publisher ended. The reader's failure is the cause when both fail.
    const [read, published] = await Promise.allSettled([reads, publishing]);
    for (const { page } of this.#pages.clear()) {
      this.#parts.budget.release(page.bytes);
      this.#parts.budget.handedOn(page.records.length);
    }
    if (read.status === "rejected") throw read.reason;
    if (published.status === "rejected") throw published.reason;
    if (startFailure !== undefined) throw startFailure.error; // before the publisher had a page to wait with
    return published.value;
  }

  async #announceStart(from: string): Promise<void> {
    const { streamName, hooks, events, log } = this.#parts;
    const { parentShardIds } = this.#lease.lease;
    const event = { streamName, shardId: this.shardId, parentShardIds, from };
    log.info(`reading shard ${this.shardId} from ${from}`);
    const step = { operation: "InitializeTask", step: "RecordProcessor.initialize" } as const;
    await measured(this.#parts, step, () => hooks.shardStart(event));
    events.emit("shardStart", event);
  }

  async #read(reading: ShardReading): Promise<void> {
    const { kinesisNow } = this.#parts;
    while (!this.#signal.aborted) {
      const asked = kinesisNow();
      const granted = await reading.next();
      if (granted === undefined) return;
      const { page, grant } = granted;
      grant.settle(page.bytes, page.records.length);
      if (page.records.length > 0) { // an empty page says nothing of the shard's records
        this.#sizes.bytes = page.bytes;
        this.#sizes.recordBytes = page.bytes / page.records.length;
      }
      this.#sizes.caughtUp = page.millisBehindLatest === 0;
      // Of empty pages only the newest counts: while the publisher waits for Pulsar they must not pile up.
      const queued = { page, askedAt: page.asOf ?? asked, receivedAt: kinesisNow() };
      this.#pages.push(queued, (last) => isEmpty(page) && isEmpty(last.page));
      if (page.shardEnd !== undefined) return;
    }
  }

  async #publishPages(started: () => Promise<void> | undefined): Promise<ConsumerEnd> {
    for (;;) {
      const next = await this.#pages.take();
      if (next === undefined) return this.#interrupted();
      await this.#waitFor("hook", untilAborted(started() ?? Promise.resolve(), this.#signal));
      if (this.#signal.aborted) {
        this.#pages.putBack(next);
        return this.#interrupted();
      }
      const end = await this.#publishPage(next);
      if (end !== undefined) return end;
    }
  }

  /** Publishes one page; returns how the consumer ends, if it does. */
  async #publishPage({ page, askedAt, receivedAt }: QueuedPage): Promise<ConsumerEnd | undefined> {
    const { until, log, clock } = this.#parts;
    const startedAt = clock.monotonic();
    const part = pageRecords(page, { range: this.#range, resumeAfter: this.#resumeAfter, until });
    if (part.misindexed > 0) {
      log.warn(`shard ${this.shardId}: ${part.misindexed} user records of KPL aggregates name a missing key`);
    }
    if (!await this.#publishRecords(page, part)) return this.#interrupted();
    if (part.records.length > 0) this.#resumeAfter = undefined;
    if (page.millisBehindLatest === 0 && !part.pastUntil) this.#generation?.caughtUp();
    this.#millisBehindLatest = page.millisBehindLatest;
    this.#pageDone(page, part, receivedAt, startedAt);
    if (part.pastUntil) return "until";
    if (page.shardEnd !== undefined) return await this.#finishShard(page.shardEnd.childShards);
    if (until !== undefined && page.millisBehindLatest === 0 && askedAt >= until) return "until";
    return undefined;
  }

  #pageDone(page: RecordPage, part: PageRecords, receivedAt: number, startedAt: number): void {
    const { clock, telemetry } = this.#parts;
    const { millisBehindLatest } = page;
    const { first, size } = this.delivery;
    const arrivedAt = part.records[0]?.approximateArrivalTimestamp;
    this.#age.handedOn({ arrivedAt, end: first + size, millisBehindLatest, receivedAt }, first);
    const durationMs = clock.monotonic() - startedAt;
    const data = {
      RecordsProcessed: part.records.length,
      DataBytesProcessed: part.bytes,
      MillisBehindLatest: millisBehindLatest,
    };
    telemetry.report({ operation: "ProcessTask", shardId: this.shardId, durationMs, success: true, data });
  }

  /** A publisher's wait, so that a shard that stands still can say for whom. */
  async #waitFor<T>(what: WaitsFor, promise: Promise<T>): Promise<T> {
    this.#waiting = { what, since: this.#parts.clock.monotonic() };
    try {
      return await promise;
    } finally {
      this.#waiting = undefined;
    }
  }

  /** False = interrupted: the records from there on were not handed on. */
  async #publishRecords(page: RecordPage, part: PageRecords): Promise<boolean> {
    const { budget, hooks, totals } = this.#parts;
    const { records, skipped } = part;
    budget.release(page.bytes - part.bytes);
    let left = part.bytes;
    let index = 0;
    let passed = 0;
    const generation = this.#generation;
    const passSkipped = (): void => {
      while (passed < skipped.length && skipped[passed]!.before <= index) {
        const one = skipped[passed++]!;
        if (generation !== undefined) generation.next += one.encoded;
        this.delivery.pass(one, generation?.next);
      }
    };
    try {
      const admitted = generation?.admit(page, part, this.#signal) ?? true;
      if (admitted !== true && !await this.#waitFor("leases", admitted)) return false;
      const info = { shardId: this.shardId, millisBehindLatest: page.millisBehindLatest };
      const run = hooks.processPage(records, info, this.#signal);
      for (;;) {
        const next = run.next();
        const outcomes = next instanceof Promise
          ? await this.#waitFor("hook", untilAborted(next, this.#signal))
          : next;
        if (outcomes === undefined) break;
        if (!this.#lease.isAlive()) return false;
        for (const outcome of outcomes) {
          if (skipped.length > 0) passSkipped();
          const record = records[index]!;
          const handed = this.delivery.handOn(record, outcome, this.#signal, generation?.next);
          if (handed === false || handed !== true && !await this.#waitFor("pulsar", handed)) return false;
          if (generation !== undefined) generation.next++;
          if (outcome === null) totals.dropped.add();
          left -= record.data.length;
          index++;
        }
      }
      if (index < records.length) return false;
      passSkipped();
      return true;
    } finally {
      this.#records += index;
      this.#bytes += part.bytes - left;
      totals.records.add(index);
      totals.bytes.add(part.bytes - left);
      budget.release(left);
      budget.handedOn(page.records.length);
    }
  }

  async #finishShard(children: readonly ChildShard[]): Promise<ConsumerEnd> {
    this.#state = "ending";
    const { shardId, delivery, checkpoints } = this;
    const shard: EndingShard = {
      shardId,
      delivery,
      checkpoints,
      signal: this.#signal,
      waitFor: (what, promise) => this.#waitFor(what, promise),
    };
    return await finishShard(shard, children, this.#parts) ? "shard-end" : this.#interrupted();
  }

  #interrupted(): ConsumerEnd {
    return this.#lease.isAlive() ? "stopped" : "lost";
  }
}

function isEmpty(page: RecordPage): boolean {
  return page.records.length === 0 && page.shardEnd === undefined;
}

/** A consumer's failure with the shard it happened in. */
export function inShard(error: unknown, streamName: string, shardId: string): ConnectorError {
  const known = toConnectorError(error);
  if (known.where.shardId !== undefined) return known;
  return new ConnectorError(`stream ${streamName}, shard ${shardId}: ${known.message}`, {
    code: known.code,
    retryable: known.retryable,
    cause: known,
    where: { ...known.where, stream: streamName, shardId },
  });
}
