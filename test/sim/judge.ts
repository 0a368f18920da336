// What has to be true at every moment of a story, seen from outside: by the rows as they are written, the messages as
// they are handed on and stored, and nothing that a worker says of itself. It judges deeds by the true state of the
// table and the stream, which no worker can see.

import { comparePositions, isSequenceNumber } from "../../src/core/position.ts";
import type { IteratorPosition } from "../../src/kinesis/client.ts";
import { isFinished } from "../../src/leases/lease.ts";
import type { Lease } from "../../src/leases/store.ts";
import type { Delivery } from "../../src/pulsar/sink.ts";
import type { SimShard, SimStream, UserRecord } from "./stream.ts";
import type { RowWrite, SimTable } from "./table.ts";
import { EPOCH, type Timeline } from "./timeline.ts";
import type { Sent, SinkWatch } from "./topic.ts";

/** Something that must never happen has happened. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Where the connectors of a story begin. */
export type Start =
  | { readonly type: "LATEST" }
  | { readonly type: "TRIM_HORIZON" }
  | { readonly type: "AT_TIMESTAMP"; readonly timestamp: number };

/** What a {@link Judge} looks at. */
export interface JudgeOptions {
  readonly timeline: Timeline;
  readonly stream: SimStream;
  readonly table: SimTable;
  readonly start: Start;
  readonly failoverTimeMs: number;
  readonly say: (text: string) => void;
}

/** One worker's work on a shard under one lease, from its first record on. */
interface Hold {
  /** As the worker knew the row when it began. */
  readonly row: Lease;
  /** Index of the last record that was handed on. */
  last: number | undefined;
}

/** What is known of a lease beside its row. */
interface Story {
  /** Its place among all rows that were written. */
  readonly order: number;
  /** When it was first at SHARD_END, milliseconds of the timeline. */
  finishedAt?: number;
  /** When a reader first had an iterator of the shard. */
  connectedAt?: number;
  /** By worker: the row as its last write left it. */
  readonly written: Map<string, Lease>;
  /** By worker: when the last write of it that was applied had been sent. */
  readonly sentAt: Map<string, number>;
}

const KEEP_FINISHED_MS = 300_000;

/** See the file's header. */
export class Judge {
  /** The first thing that went wrong. */
  violation: Violation | undefined;
  /** Messages stored, replays included. */
  stored = 0;
  duplicates = 0;
  takes = 0;
  /** Takes from a live owner. */
  steals = 0;
  readonly #options: JudgeOptions;
  readonly #stories = new Map<string, Story>();
  readonly #acknowledged = new Map<string, Set<UserRecord>>();
  /** By worker: when it sent its last two steals. */
  readonly #stoleAt = new Map<string, readonly [number, number]>();
  readonly #dropped = new Set<Delivery>();
  readonly #holdOf = new Map<Delivery, Hold>();

  constructor(options: JudgeOptions) {
    this.#options = options;
    options.table.onWrite = (write) => this.#guarded(() => this.#wrote(write));
  }

  /** Says that something is wrong; the story ends. */
  fail(text: string): void {
    if (this.violation !== undefined) return;
    this.violation = new Violation(text);
    this.#options.say(`VIOLATION: ${text}`);
  }

  /** Shards that had a lease at any time. */
  hadLease(shard: SimShard): boolean {
    return this.#stories.has(shard.id);
  }

  /** The lease is at SHARD_END, or was and is deleted. */
  isOver(shard: SimShard): boolean {
    return this.#stories.get(shard.id)?.finishedAt !== undefined;
  }

  /** Whether a worker has renewed its lease within the failover time. */
  isFresh(shard: SimShard, worker: string): boolean {
    const { timeline, failoverTimeMs } = this.#options;
    return timeline.now - (this.#stories.get(shard.id)?.sentAt.get(worker) ?? -Infinity) < failoverTimeMs;
  }

  /** A reader was given an iterator. */
  connected(worker: string, shard: SimShard, position: IteratorPosition): void {
    const story = this.#stories.get(shard.id);
    this.#options.say(`${worker} connects ${shard.id} ${JSON.stringify(position)}`);
    if (story !== undefined) story.connectedAt ??= this.#options.timeline.now;
  }

  /** Whether a record has to be delivered, as far as is known now. */
  isRequired(user: UserRecord): boolean {
    const { start } = this.#options;
    if (user.misplaced) return false;
    if (start.type === "AT_TIMESTAMP") return user.arrival >= start.timestamp;
    if (start.type === "TRIM_HORIZON") return true;
    return user.arrival > EPOCH + this.#connectedAt(user.shard);
  }

  /** LATEST: when a reader of the shard or of an ancestor was first connected, milliseconds of the timeline. */
  #connectedAt(shard: SimShard): number {
    const own = this.#stories.get(shard.id)?.connectedAt ?? Infinity;
    return Math.min(own, ...shard.parents.map((parent) => this.#connectedAt(parent)));
  }

  /** The highest position of a shard that was acknowledged to a worker, whatever is open before it. */
  highestAcknowledged(worker: string, shardId: string): UserRecord | undefined {
    const acknowledged = this.#acknowledged.get(worker);
    return this.#options.stream.shard(shardId).users.findLast((user) => acknowledged?.has(user));
  }

  /** What a worker's sink tells. */
  watch(worker: string): SinkWatch {
    const acknowledged = this.#acknowledged.get(worker) ?? new Set<UserRecord>();
    this.#acknowledged.set(worker, acknowledged);
    const user = ({ id }: Sent) => this.#options.stream.users.get(id);
    return {
      handedOn: (sent) => this.#guarded(() => this.#handedOn(worker, user(sent), sent)),
      leaves: (sent) => this.#guarded(() => this.#leaves(worker, user(sent)!)),
      stored: (sent) => this.store(worker, user(sent)!),
      acknowledged: (sent) => void acknowledged.add(user(sent)!),
      dropped: (delivery) => void this.#dropped.add(delivery),
    };
  }

  /** The topic has a message. */
  store(worker: string, user: UserRecord): void {
    this.stored++;
    if (user.storedAt === undefined) user.storedAt = this.#options.timeline.now;
    else this.duplicates++;
    this.#options.say(`${worker} stored ${user.id}`);
  }

  #handedOn(worker: string, user: UserRecord | undefined, { id, delivery }: Sent): void {
    if (user === undefined) return this.fail(`${worker} publishes "${id}", which was never put`);
    if (user.misplaced) {
      this.fail(`${worker} publishes ${id} of an aggregate that holds a key of another shard`);
    }
    if (this.#dropped.has(delivery)) {
      this.fail(`${worker} publishes ${id} after it gave up the shard`);
    }
    let hold = this.#holdOf.get(delivery);
    if (hold === undefined) {
      const row = this.#stories.get(user.shard.id)?.written.get(worker);
      if (row === undefined) return this.fail(`${worker} publishes ${id} and never took the lease`);
      hold = { row, last: undefined };
      this.#holdOf.set(delivery, hold);
      this.begins(worker, user.shard);
    }
    this.#checkPlace(worker, user, hold);
    hold.last = user.index;
  }

  /**
   * G2: a child's first record comes after all of its parents' are stored, and their end with them. Of two workers that
   * begin an empty table at LATEST in the middle of a reshard, one may write the parent after the other wrote the child:
   * nothing of that parent is promised.
   */
  begins(worker: string, shard: SimShard): void {
    const own = this.#stories.get(shard.id)!.order;
    for (const parent of shard.parents) {
      const story = this.#stories.get(parent.id);
      if (story !== undefined && story.order > own) continue;
      if (this.hadLease(parent) && !this.isOver(parent)) {
        this.fail(`${worker} publishes of ${shard.id} before its parent ${parent.id} is finished`);
      }
      const open = parent.users.find((user) => this.isRequired(user) && user.storedAt === undefined);
      if (open !== undefined) {
        this.fail(`${worker} publishes of ${shard.id} before ${open.id} of its parent is stored`);
      }
    }
  }

  /** Nothing is left out, nothing comes twice, and a new owner begins right after the stored checkpoint. */
  #checkPlace(worker: string, { shard, index, id }: UserRecord, hold: Hold): void {
    const { checkpoint, startedAt } = hold.row;
    if (hold.last === undefined && checkpoint.sequenceNumber === "LATEST") {
      const skipped = shard.users.find((user) => user.index < index && this.isRequired(user));
      if (skipped !== undefined) {
        this.fail(`${worker} begins ${shard.id} at ${id} and leaves out ${skipped.id}`);
      }
      if (startedAt !== undefined && shard.users[index]!.arrival < startedAt) {
        this.fail(`${worker} begins ${shard.id} at ${id}, which is older than ${startedAt}`);
      }
      return;
    }
    const from = hold.last === undefined ? this.#indexAfter(shard, hold.row) : hold.last + 1;
    const expected = shard.users.find((user) => user.index >= from && !user.misplaced);
    if (expected?.index !== index) {
      const after = hold.last === undefined ? `checkpoint ${text(hold.row)}` : shard.users[hold.last]!.id;
      this.fail(`${worker} publishes ${id} after ${after}; next is ${expected?.id}`);
    }
  }

  /** G5: bytes leave only within the failover time after a write that renewed the lease was sent. */
  #leaves(worker: string, { shard, id }: UserRecord): void {
    const { timeline, failoverTimeMs } = this.#options;
    const sentAt = this.#stories.get(shard.id)?.sentAt.get(worker) ?? -Infinity;
    if (timeline.now - sentAt >= failoverTimeMs) {
      this.fail(`${worker} sends ${id} ${timeline.now - sentAt} ms after it last renewed the lease`);
    }
  }

  #wrote({ worker, sentAt, key, before, after }: RowWrite): void {
    const { say, timeline, stream } = this.#options;
    say(
      `${worker} ${before === undefined ? "creates" : after === undefined ? "deletes" : "writes"} ${key} ${
        after === undefined ? "" : `#${after.leaseCounter} owner ${after.leaseOwner ?? "-"} at ${text(after)}`
      }`,
    );
    if (before === undefined) return this.#created(worker, after!);
    const story = this.#stories.get(key)!;
    if (after === undefined) return this.#deleted(worker, before, story);
    if (after.leaseCounter === before.leaseCounter) return; // child ids alone
    if (after.leaseCounter !== before.leaseCounter + 1) {
      this.fail(`${worker} writes ${key} from counter ${before.leaseCounter} to ${after.leaseCounter}`);
    }
    if (after.leaseOwner === worker) {
      story.sentAt.set(worker, Math.max(sentAt, story.sentAt.get(worker) ?? 0));
    }
    const isTake = after.leaseOwner === worker && after.leaseOwner !== before.leaseOwner;
    if (isTake) {
      this.takes++;
      if (before.leaseOwner !== undefined && this.isFresh(stream.shard(key), before.leaseOwner)) {
        this.#stole(worker, key, before.leaseOwner, sentAt);
      }
    } else if (before.leaseOwner !== worker) {
      this.fail(`${worker} writes ${key}, which ${before.leaseOwner ?? "nobody"} holds`);
    }
    const order = comparePositions(after.checkpoint, before.checkpoint);
    if (after.leaseOwner === worker) story.written.set(worker, after);
    if (order < 0) this.fail(`${worker} sets ${key} back from ${text(before)} to ${text(after)}`);
    if (order > 0) this.#checkpointed(worker, before, after);
    if (isFinished(after)) story.finishedAt ??= timeline.now;
  }

  /** From the living one lease is stolen at a time, in the KCL's rhythm; one more where the answer got lost. */
  #stole(worker: string, key: string, owner: string, sentAt: number): void {
    this.steals++;
    const [before = -Infinity, last = -Infinity] = this.#stoleAt.get(worker) ?? [];
    if (sentAt - before < this.#options.failoverTimeMs) {
      this.fail(`${worker} steals ${key} from ${owner}: three leases within ${sentAt - before} ms`);
    }
    this.#stoleAt.set(worker, [last, sentAt]);
  }

  #created(worker: string, row: Lease): void {
    const { stream } = this.#options;
    const shard = stream.shard(row.leaseKey);
    if (shard === undefined) return this.fail(`${worker} creates a lease of ${row.leaseKey}: no such shard`);
    const known = this.#stories.get(row.leaseKey);
    const child = shard.children.find((one) => this.hadLease(one));
    if (child !== undefined && this.#options.start.type !== "LATEST") {
      this.fail(`${worker} creates ${row.leaseKey} at ${text(row)} after its child ${child.id}`);
    }
    if (known?.finishedAt !== undefined) this.fail(`${worker} creates the finished ${row.leaseKey} again`);
    this.#stories.set(row.leaseKey, { order: this.#stories.size, written: new Map(), sentAt: new Map() });
  }

  /** Whether a row that is there could be deleted, but for its age. */
  mayGo(shard: SimShard): boolean {
    const { table } = this.#options;
    if (!this.isOver(shard) || shard.parents.some(({ id }) => table.row(id) !== undefined)) return false;
    return shard.children.every((child) => {
      const begun = table.row(child.id)?.checkpoint.sequenceNumber;
      return this.hadLease(child) && begun !== "TRIM_HORIZON" && begun !== "AT_TIMESTAMP";
    });
  }

  /** A row may go when it is old, its parents' are gone, and its children have begun (kcl-compat §4.6). */
  #deleted(worker: string, row: Lease, { finishedAt }: Story): void {
    const { stream, table, timeline } = this.#options;
    const what = `${worker} deletes ${row.leaseKey}`;
    if (finishedAt === undefined) return this.fail(`${what}, which is not finished`);
    if (timeline.now - finishedAt < KEEP_FINISHED_MS) this.fail(`${what} too early`);
    const shard = stream.shard(row.leaseKey);
    for (const parent of shard.parents) {
      if (table.row(parent.id) !== undefined) this.fail(`${what} while its parent ${parent.id} has a lease`);
    }
    for (const child of shard.children) {
      const begun = table.row(child.id)?.checkpoint.sequenceNumber;
      if (!this.hadLease(child)) this.fail(`${what} before its child ${child.id} has a lease`);
      if (begun === "TRIM_HORIZON" || begun === "AT_TIMESTAMP") {
        this.fail(`${what} while its child ${child.id} is at ${begun}`);
      }
    }
  }

  /** G1: everything up to the position was acknowledged to the worker that stores it. */
  #checkpointed(worker: string, before: Lease, after: Lease): void {
    const { stream } = this.#options;
    const shard = stream.shard(after.leaseKey);
    const isEnd = isFinished(after);
    const to = isEnd ? shard.users.length : this.#indexAfter(shard, after);
    const atLatest = before.checkpoint.sequenceNumber === "LATEST";
    for (let index = this.#indexAfter(shard, before); index < to; index++) {
      const user = shard.users[index]!;
      if (user.misplaced || this.#acknowledged.get(worker)?.has(user)) continue;
      if (atLatest && !this.isRequired(user) && !this.#hasBegun(worker, user)) continue;
      this.fail(
        `${worker} checkpoints ${shard.id} at ${text(after)}, but ${user.id} is not acknowledged to it`,
      );
    }
    if (!isEnd) return;
    if (shard.closedAt === undefined) this.fail(`${worker} ends ${shard.id}, which is open`);
    for (const child of shard.children) {
      if (!this.hadLease(child)) {
        this.fail(`${worker} ends ${shard.id} before its child ${child.id} has a lease`);
      }
    }
  }

  /** Whether an older record of the shard was acknowledged to the worker. */
  #hasBegun(worker: string, { shard, index }: UserRecord): boolean {
    const acknowledged = this.#acknowledged.get(worker);
    return shard.users.slice(0, index).some((user) => acknowledged?.has(user));
  }

  /** Index of the first user record after a row's checkpoint. */
  #indexAfter(shard: SimShard, { checkpoint }: Lease): number {
    const { start } = this.#options;
    if (checkpoint.sequenceNumber === "SHARD_END") return shard.users.length;
    const after = isSequenceNumber(checkpoint.sequenceNumber)
      ? (user: UserRecord) => comparePositions(user, checkpoint) > 0
      : checkpoint.sequenceNumber === "AT_TIMESTAMP" && start.type === "AT_TIMESTAMP"
      ? (user: UserRecord) => user.arrival >= start.timestamp
      : () => true;
    const index = shard.users.findIndex(after);
    return index === -1 ? shard.users.length : index;
  }

  #guarded(check: () => void): void {
    if (this.violation === undefined) check();
  }
}

function text({ checkpoint: { sequenceNumber, subSequenceNumber } }: Lease): string {
  return isSequenceNumber(sequenceNumber) ? `${sequenceNumber}/${subSequenceNumber}` : sequenceNumber;
}
