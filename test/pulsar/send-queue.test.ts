// The order of frames: splitting at the broker's last id, chunks, refusals that are waited for, a topic's own limit.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ConnectorError } from "../../src/core/errors.ts";
import { Batch } from "../../src/pulsar/batch.ts";
import { type FrameTarget, SendQueue } from "../../src/pulsar/send-queue.ts";
import type { Delivery } from "../../src/pulsar/sink.ts";
import { BufferPool } from "../../src/pulsar/wire/buffer-pool.ts";
import { Entry, messageBound } from "../../src/pulsar/wire/entry.ts";
import { decodeCommand, decodePayload } from "../../src/pulsar/wire/frames.ts";
import { decodeMetadata, readMessages } from "../../src/pulsar/wire/metadata.ts";
import { settle } from "../fakes.ts";
import { RecordingDelivery } from "./sink-harness.ts";
import { OnceDelivery } from "./once-harness.ts";

const POOL = new BufferPool(128 * 1024);
const TOPIC = "persistent://public/default/t";
const ERROR = new ConnectorError("no", { code: "PULSAR_REFUSED" });

/** A batch of messages of so many bytes, with ids (and ordinals) from `first` on. */
function batchOf(sizes: readonly number[], first: number, delivery: Delivery): Batch {
  const messages = sizes.map((size, index) => ({ topic: "t", data: Buffer.alloc(size, index) }));
  const batch = new Batch(new Entry(POOL, messages[0]!, 0));
  messages.forEach((message, index) =>
    batch.add(message, messageBound(message), first + index, delivery, first + index)
  );
  return batch;
}

interface Sent {
  readonly ids: readonly number[];
  readonly judgedBy: number;
  readonly chunk?: string;
  readonly uuid?: string | undefined;
  readonly size: number;
}

/** A queue, what it said, and its frames as a broker reads them. */
class Bench {
  finished = 0;
  duplicates = 0;
  resumed = 0;
  target: FrameTarget = {
    header: { producerId: 3, producerName: "p", publishTime: 1_700_000_000_000 },
    maxMessageSize: 10_000,
    chunking: true,
    chunkMark: "m1",
    lastSequenceId: -1,
  };
  readonly queue = new SendQueue(TOPIC, {
    finished: (count) => void (this.finished += count),
    duplicates: (count) => void (this.duplicates += count),
    resumed: () => void this.resumed++,
  });

  /** The topic took frames of this size before. */
  prove(size: number): this {
    this.queue.add(batchOf([size], 0, new RecordingDelivery()));
    this.take();
    this.queue.receipt(0, false);
    this.finished = this.resumed = 0;
    return this;
  }

  take(most = Infinity): Sent[] {
    const sent: Sent[] = [];
    while (sent.length < most) {
      const pieces: Buffer[] = [];
      const size = this.queue.take(this.target, pieces);
      if (size === 0) break;
      const frame = Buffer.concat(pieces);
      assert.equal(frame.length, size);
      sent.push(read(frame));
    }
    return sent;
  }
}

function read(frame: Buffer): Sent {
  const send = decodeCommand(frame);
  assert.ok(send?.name === "SEND");
  const { metadata, payload, headersAndPayload } = decodePayload(frame)!;
  const about = decodeMetadata(metadata);
  const ids = readMessages(about, payload).map(({ sequenceId }) => sequenceId);
  assert.equal(send.highestSequenceId, ids.at(-1));
  assert.equal(send.isChunk, about.uuid !== undefined);
  const size = headersAndPayload.length;
  const judgedBy = send.sequenceId;
  if (about.uuid === undefined) return { ids, judgedBy, size };
  return { ids, judgedBy, size, chunk: `${about.chunkId}/${about.numChunksFromMsg}`, uuid: about.uuid };
}

const chunksOf = (sent: readonly Sent[]): (string | undefined)[] => sent.map(({ chunk }) => chunk);
const idsOf = (sent: readonly Sent[]): (readonly number[])[] => sent.map(({ ids }) => ids);

test("pulsar queue: no entry mixes ids at or below the broker's last one with ids above", () => {
  const bench = new Bench();
  bench.target = { ...bench.target, lastSequenceId: 12 };
  const delivery = new OnceDelivery("p");
  bench.queue.add(batchOf([10, 10, 10], 0, delivery));
  bench.queue.add(batchOf([10, 10, 10, 10], 10, delivery));
  bench.queue.add(batchOf([10, 10], 14, delivery));
  assert.ok(bench.queue.prepare(bench.target, 1e6) > 0, "also when sealed ahead");
  const sent = bench.take();
  assert.deepEqual(idsOf(sent), [[0, 1, 2], [10, 11, 12], [13], [14, 15]]);
  assert.deepEqual(
    sent.map(({ judgedBy }) => judgedBy),
    [2, 12, 13, 14],
    "replays are judged by their last id",
  );
  for (const id of [2, 12]) assert.equal(bench.queue.receipt(id, true), "done");
  for (const id of [13, 14]) assert.equal(bench.queue.receipt(id, false), "done");
  assert.equal(bench.duplicates, 6);
  assert.equal(bench.finished, 9);
});

test("pulsar queue: an entry that was sealed for a broker which forgot half of it is split at what it knows now", () => {
  const bench = new Bench();
  bench.target = { ...bench.target, lastSequenceId: 9 };
  bench.queue.add(batchOf([10, 10, 10, 10, 10], 5, new OnceDelivery("p")));
  assert.deepEqual(idsOf(bench.take()), [[5, 6, 7, 8, 9]]);
  bench.queue.rewind();
  bench.target = { ...bench.target, lastSequenceId: 6 }; // a write failed: what was only taken is forgotten
  assert.deepEqual(bench.take().map(({ ids, judgedBy }) => [ids, judgedBy]), [[[5, 6], 6], [[7, 8, 9], 7]]);
});

test("pulsar queue: a message in chunks is done with its last receipt, and what follows goes behind it", () => {
  const bench = new Bench().prove(9_000);
  const delivery = new RecordingDelivery();
  bench.queue.add(batchOf([25_000], 1, delivery));
  bench.queue.add(batchOf([5], 2, delivery));
  assert.deepEqual(chunksOf(bench.take()), ["0/3"], "larger than any that the topic took: alone");
  assert.equal(bench.queue.receipt(1, false), "chunk");
  assert.equal(bench.resumed, 1);
  const rest = bench.take();
  assert.deepEqual(chunksOf(rest), ["1/3", "2/3", undefined]);
  assert.ok(rest.every(({ size }) => size <= 10_000));
  assert.equal(bench.queue.receipt(1, false), "chunk");
  assert.deepEqual(delivery.runs, []);
  assert.equal(bench.queue.receipt(1, false), "done");
  assert.equal(bench.queue.receipt(2, false), "done");
  assert.deepEqual(delivery.runs, [[1, 1], [2, 2]]);
});

test("pulsar queue: a connection lost between chunks: all of them again, under another uuid", () => {
  const bench = new Bench().prove(9_900);
  bench.queue.add(batchOf([25_000], 1, new RecordingDelivery()));
  const first = bench.take(1);
  bench.queue.receipt(1, false);
  bench.take(1);
  bench.queue.rewind();
  bench.target = { ...bench.target, chunkMark: "m2" };
  assert.equal(bench.queue.receipt(1, false), "stale", "of the old session");
  const again = [...bench.take(1)];
  bench.queue.receipt(1, false);
  again.push(...bench.take());
  assert.deepEqual(chunksOf(again), ["0/3", "1/3", "2/3"]);
  assert.deepEqual([...new Set([...first, ...again].map(({ uuid }) => uuid))], ["p-1-m1", "p-1-m2"]);
});

test("pulsar queue: at or below the broker's last id a message in chunks needs its last one only", () => {
  const bench = new Bench().prove(9_900);
  bench.target = { ...bench.target, lastSequenceId: 1 };
  const delivery = new OnceDelivery("p");
  bench.queue.add(batchOf([25_000], 1, delivery));
  bench.queue.add(batchOf([25_000], 2, delivery));
  assert.deepEqual(chunksOf(bench.take()), ["2/3"]);
  assert.equal(bench.queue.receipt(1, true), "done");
  assert.deepEqual(chunksOf(bench.take(1)), ["0/3"]);
  assert.equal(bench.duplicates, 1);
});

test("pulsar queue: a lease lost between chunks: no further one, and what others have goes on", () => {
  const bench = new Bench().prove(9_900);
  const [lost, other] = [new RecordingDelivery(), new RecordingDelivery()];
  bench.queue.add(batchOf([25_000], 1, lost));
  bench.queue.add(batchOf([5], 2, other));
  assert.deepEqual(chunksOf(bench.take()), ["0/3"]);
  lost.alive = false;
  assert.deepEqual(bench.take(), [], "the first chunk's receipt is not there yet");
  bench.queue.receipt(1, false);
  assert.deepEqual(idsOf(bench.take()), [[2]]);
  assert.equal(bench.queue.receipt(2, false), "done");
  assert.deepEqual([lost.runs, other.runs, bench.finished], [[], [[2, 2]], 2]);
});

test("pulsar queue: dropped between chunks, the same, also when no receipt comes first", () => {
  const bench = new Bench().prove(9_900);
  const [lost, other] = [new RecordingDelivery(), new RecordingDelivery()];
  bench.queue.add(batchOf([25_000], 1, lost));
  bench.queue.add(batchOf([5], 2, other));
  bench.take();
  bench.queue.drop(lost);
  assert.equal(bench.resumed, 1);
  assert.deepEqual(idsOf(bench.take()), [[2]]);
  assert.equal(bench.queue.receipt(1, false), "stale");
  assert.equal(bench.queue.receipt(2, false), "done");
});

test("pulsar queue: without chunking, or without room for it, a message that is too large is refused", () => {
  for (
    const [change, why] of [[{ chunking: false }, /chunking is off/], [{}, /no room for chunks/]] as const
  ) {
    const bench = new Bench();
    bench.target = { ...bench.target, maxMessageSize: 100, ...change };
    if (why.source.includes("room")) {
      bench.target = { ...bench.target, header: { ...bench.target.header, producerName: "n".repeat(90) } };
    }
    const delivery = new RecordingDelivery();
    bench.queue.add(batchOf([200], 0, delivery));
    assert.deepEqual(bench.take(), []);
    assert.equal(delivery.refusals[0]!.error.code, "MESSAGE_TOO_LARGE");
    assert.match(delivery.refusals[0]!.error.message, why);
    assert.ok(bench.queue.isEmpty);
  }
});

test("pulsar queue: a refusal that is waited for holds what stands behind it, and lets through what stood before", async () => {
  const bench = new Bench();
  let settled!: () => void;
  const delivery = new class extends RecordingDelivery {
    override refused(ordinal: number, error: ConnectorError): Promise<void> {
      super.refused(ordinal, error);
      return new Promise((resolve) => settled = resolve);
    }
  }();
  bench.target = { ...bench.target, chunking: false };
  bench.queue.add(batchOf([10], 0, delivery));
  bench.queue.add(batchOf([20_000], 1, delivery));
  bench.queue.add(batchOf([10], 2, delivery));
  assert.deepEqual(idsOf(bench.take()), [[0]]);
  assert.deepEqual(delivery.refusals.map(({ ordinal }) => ordinal), [1]);
  bench.queue.rewind(); // the connection is lost meanwhile
  assert.equal(bench.queue.prepare(bench.target, 1e6) > 0, true);
  assert.deepEqual(idsOf(bench.take()), [[0]], "again, for the refused one waits for it");
  assert.equal(bench.queue.receipt(0, false), "done");
  assert.deepEqual(bench.take(), []);
  assert.equal(bench.resumed, 0);
  settled();
  await settle();
  assert.equal(bench.resumed, 1);
  assert.deepEqual(idsOf(bench.take()), [[2]]);
});

test("pulsar queue: between two refusals that are waited for, what a lost connection had goes after the first", async () => {
  const bench = new Bench().prove(5_000);
  const settled = new Map<number, () => void>();
  const delivery = new class extends OnceDelivery {
    override refused(ordinal: number, error: ConnectorError): Promise<void> {
      super.refused(ordinal, error);
      return new Promise((resolve) => settled.set(ordinal, resolve));
    }
  }("p");
  for (let id = 1; id <= 5; id++) bench.queue.add(batchOf([10], id, delivery));
  assert.deepEqual(idsOf(bench.take()), [[1], [2], [3], [4], [5]]);
  for (const id of [4, 2]) bench.queue.refuse(id, ERROR);
  bench.queue.rewind();
  assert.deepEqual(idsOf(bench.take()), [[1]]);
  settled.get(2)!();
  await settle();
  assert.deepEqual(idsOf(bench.take()), [[3]], "the dead letter of 4 waits for it");
  for (const id of [1, 3]) assert.equal(bench.queue.receipt(id, false), "done");
  assert.deepEqual(bench.take(), []);
  assert.equal(bench.queue.isSettled, false);
  settled.get(4)!();
  await settle();
  assert.deepEqual(idsOf(bench.take()), [[5]]);
  assert.equal(bench.queue.isSettled, true);
});

test("pulsar queue: a batch that a topic refuses for its size is halved, until only what is too large is refused", () => {
  const bench = new Bench();
  const delivery = new RecordingDelivery();
  const limit = 2_500;
  bench.queue.add(batchOf([1000, 1000, 1000, 2600, 10, 10, 1000], 0, delivery));
  bench.queue.add(batchOf([1000, 1000, 1000], 7, delivery));
  const stored: number[] = [];
  let probes = 0;
  for (let sent = bench.take(); sent.length > 0; sent = bench.take()) {
    for (const { ids, size } of sent) {
      probes++;
      if (size > limit) {
        assert.equal(bench.queue.refuseSize(ids.at(-1)!, ERROR), true, "nothing was given behind it");
      } else {
        assert.equal(bench.queue.receipt(ids[0]!, false), "done");
        stored.push(...ids);
      }
    }
  }
  assert.deepEqual(stored, [0, 1, 2, 4, 5, 6, 7, 8, 9], "in order");
  assert.deepEqual(delivery.refusals.map(({ ordinal }) => ordinal), [3]);
  assert.ok(probes <= 12, `${probes} frames`);
  assert.ok(bench.queue.isEmpty);
});

test("pulsar queue: halves of a batch are offered at once, also when nothing was held back for it", () => {
  const bench = new Bench().prove(5_000);
  bench.queue.add(batchOf([1000, 1000], 1, new OnceDelivery("p")));
  assert.deepEqual(idsOf(bench.take()), [[1, 2]]);
  assert.equal(bench.queue.refuseSize(2, ERROR), true);
  assert.equal(bench.resumed, 1);
  assert.deepEqual(idsOf(bench.take()), [[1], [2]]);
});

test("pulsar queue: a refusal for size overtakes the receipts of what was given before", () => {
  const bench = new Bench();
  const delivery = new RecordingDelivery();
  bench.queue.add(batchOf([100], 0, delivery));
  bench.queue.add(batchOf([2000, 2000], 1, delivery));
  bench.queue.add(batchOf([100], 3, delivery));
  assert.deepEqual(idsOf(bench.take()), [[0], [1, 2]]);
  assert.equal(bench.queue.refuseSize(2, ERROR), true);
  assert.deepEqual(idsOf(bench.take()), [[1]]);
  assert.equal(bench.queue.refuseSize(1, ERROR), true);
  assert.deepEqual(idsOf(bench.take()), [[2]]);
  assert.equal(bench.queue.inFlight(1), undefined);
  for (const id of [0, 2]) assert.equal(bench.queue.receipt(id, false), "done");
  assert.deepEqual(idsOf(bench.take()), [[3]]);
  assert.deepEqual([delivery.refusals.map(({ ordinal }) => ordinal), delivery.runs], [[1], [[0, 0], [2, 2]]]);
});

test("pulsar queue: nothing is given behind a frame larger than any that the topic took", () => {
  const bench = new Bench();
  const delivery = new RecordingDelivery();
  for (let id = 0; id < 4; id++) bench.queue.add(batchOf([id < 2 ? 2000 : 100], id, delivery));
  assert.deepEqual(idsOf(bench.take()), [[0]]);
  bench.queue.receipt(0, false);
  assert.equal(bench.resumed, 1);
  assert.deepEqual(idsOf(bench.take()), [[1], [2], [3]]);
});

test("pulsar queue: a limit that is lowered while frames follow: all again, or refused where that looked like duplicates", () => {
  for (
    const [delivery, isAgain] of [[new RecordingDelivery(), true], [new OnceDelivery("p"), false]] as const
  ) {
    const bench = new Bench().prove(5_000);
    bench.queue.add(batchOf([1000, 1000], 1, delivery));
    bench.queue.add(batchOf([1000], 3, delivery));
    assert.deepEqual(idsOf(bench.take()), [[1, 2], [3]]);
    assert.equal(bench.queue.refuseSize(2, ERROR), !isAgain);
    if (isAgain) {
      bench.queue.rewind();
      assert.deepEqual(idsOf(bench.take(1)), [[1]]);
      bench.queue.receipt(1, false);
      assert.deepEqual(idsOf(bench.take()), [[2], [3]]);
      for (const id of [2, 3]) assert.equal(bench.queue.receipt(id, false), "done");
    } else assert.deepEqual(delivery.refusals.map(({ ordinal }) => ordinal), [1, 2]);
  }
});
