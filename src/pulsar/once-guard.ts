// What a producer may give its broker under effectively once. Invariants: ids rise; nothing is published behind the
// first frame before the broker is known to remember it, and nothing at all once it forgot what it acknowledged.
//
// The proof is in band, for no request tells whether deduplication is on: after a frame's receipt the producer is
// closed and opened again, and PRODUCER_SUCCESS.last_sequence_id must be at least the frame's highest id. A topic that
// deduplicates answers −1 only for names that never published, or not for a long time (seen on Pulsar 4.0.7).

import { ConnectorError } from "../core/errors.ts";
import { withoutPartition } from "../core/topic-name.ts";
import type { DeduplicationProofs, Prover } from "./deduplication-proof.ts";
import type { OnceProducer } from "./producer-context.ts";
import { namespaceOf } from "./topic-name.ts";

/** What is remembered of a producer's name and topic while its shard is ours, also while no producer is open. */
export interface OnceHistory {
  /** Highest id that was queued. */
  queued: number;
  /** Highest id that a broker acknowledged. */
  acknowledged: number;
}

/** A name's history before its first message. */
export function newHistory(): OnceHistory {
  return { queued: -1, acknowledged: -1 };
}

/** See the file's header. One producer's. */
export class OnceGuard implements Prover {
  readonly #producerName: string;
  readonly #topic: string;
  readonly #history: OnceHistory;
  readonly #proofs: DeduplicationProofs;
  readonly #resume: () => void;
  /** Highest id that was acknowledged to this very producer. */
  #acknowledged = -1;
  #lastSequenceId = -1;
  /** The others' proof is not enough: the broker does not remember what it acknowledged to an earlier producer. */
  #isDoubted = false;
  /** The first frame has its receipt; what the broker says at the next opening decides. */
  #isReopening = false;

  /** @param resume is called when frames may be given that were held back */
  constructor(topic: string, once: OnceProducer, proofs: DeduplicationProofs, resume: () => void) {
    this.#producerName = once.producerName;
    this.#topic = topic;
    this.#history = once.history;
    this.#proofs = proofs;
    this.#resume = resume;
    proofs.enter(topic, this);
  }

  /** The broker's last id of this name, as it said at the last opening. */
  get lastSequenceId(): number {
    return this.#lastSequenceId;
  }

  /** Whether a message with this id may be queued; the error is a defect of this program. */
  admit(sequenceId: number | undefined): ConnectorError | undefined {
    const { queued } = this.#history;
    if (sequenceId !== undefined && Number.isSafeInteger(sequenceId) && sequenceId > queued) {
      this.#history.queued = sequenceId;
      return undefined;
    }
    return new ConnectorError(
      `a message for topic ${this.#topic} has sequence id ${sequenceId} behind ${queued} of producer ` +
        `${this.#producerName}: brokers would drop it as a duplicate, so it is not sent`,
      { code: "INTERNAL", where: { topic: this.#topic } },
    );
  }

  /** The producer was opened, and the broker's last id of its name is this one. An error ends everything. */
  opened(lastSequenceId: number): ConnectorError | undefined {
    this.#lastSequenceId = lastSequenceId;
    this.#isReopening = false;
    if (lastSequenceId < this.#acknowledged) return this.#off();
    this.#isDoubted = lastSequenceId < this.#history.acknowledged;
    if (lastSequenceId >= 0 && !this.#isDoubted) this.#proofs.proved(this.#topic);
    return undefined;
  }

  /** Whether a frame may be given behind so many that have no receipt yet. */
  mayGive(given: number): boolean {
    if (this.#isFree) return true;
    return given === 0 && !this.#isReopening && this.#proofs.claim(this.#topic, this);
  }

  /** There was no frame to give after all. */
  gaveNothing(given: number): void {
    if (given === 0) this.#proofs.release(this.#topic, this);
  }

  /** A frame was acknowledged. Returns whether the producer has to be closed and opened again now. */
  receipt(highestSequenceId: number, isDuplicate: boolean): boolean {
    const wasFree = this.#isFree;
    this.#acknowledged = Math.max(this.#acknowledged, highestSequenceId);
    this.#history.acknowledged = Math.max(this.#history.acknowledged, highestSequenceId);
    if (wasFree) return false;
    this.#isReopening = !isDuplicate;
    if (isDuplicate) {
      this.#isDoubted = false;
      this.#proofs.proved(this.#topic);
      this.#resume();
    }
    return this.#isReopening;
  }

  /** The producer is closed for good. */
  close(): void {
    this.#proofs.leave(this.#topic, this);
  }

  proofChanged(): void {
    this.#resume();
  }

  get #isFree(): boolean {
    return !this.#isDoubted && this.#proofs.isProved(this.#topic);
  }

  #off(): ConnectorError {
    const topic = this.#topic;
    return new ConnectorError(
      `deduplication is off for topic ${topic}: its broker acknowledged message ${this.#acknowledged} of producer ` +
        `${this.#producerName}, but remembers ${this.#lastSequenceId} as the last one (or the topic was deleted ` +
        `meanwhile, or the producer forgotten after hours without connection). Nothing more is published. Effectively ` +
        `once needs it: pulsar-admin namespaces set-deduplication ${
          namespaceOf(topic)
        } --enable, or for this topic alone ` +
        `pulsar-admin topicPolicies set-deduplication ${withoutPartition(topic)} --enable; then start again`,
      { code: "DEDUPLICATION_OFF", where: { topic } },
    );
  }
}
