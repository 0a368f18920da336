// What is known about deduplication of concrete topics (partitions), shared by all producers of a sink that rely on
// it. Invariant: of several producers of an unproven topic one publishes a frame, the others wait until it is proved.

/** A producer that waits, or proves. */
export interface Prover {
  /** The topic is proved, or nobody is proving it any more. */
  proofChanged(): void;
}

interface TopicProof {
  isProved: boolean;
  prover: Prover | undefined;
  /** Producers that rely on it; with the last one it is forgotten. */
  readonly users: Set<Prover>;
  readonly waiting: Set<Prover>;
}

/** One per sink. */
export class DeduplicationProofs {
  readonly #topics = new Map<string, TopicProof>();

  /** A producer of this topic is there. */
  enter(topic: string, producer: Prover): void {
    const known = this.#topics.get(topic);
    if (known !== undefined) known.users.add(producer);
    else {
      this.#topics.set(topic, {
        isProved: false,
        prover: undefined,
        users: new Set([producer]),
        waiting: new Set(),
      });
    }
  }

  /** …and is no more. */
  leave(topic: string, producer: Prover): void {
    this.release(topic, producer);
    const known = this.#topics.get(topic);
    known?.waiting.delete(producer);
    known?.users.delete(producer);
    if (known?.users.size === 0) this.#topics.delete(topic);
  }

  isProved(topic: string): boolean {
    return this.#topics.get(topic)?.isProved === true;
  }

  /** Whether this producer is the one that proves; if not, it is told when there is something new. */
  claim(topic: string, producer: Prover): boolean {
    const known = this.#topics.get(topic)!;
    known.prover ??= producer;
    if (known.prover !== producer) known.waiting.add(producer);
    return known.prover === producer;
  }

  /** This producer does not prove any more, the next one may. */
  release(topic: string, producer: Prover): void {
    const known = this.#topics.get(topic);
    if (known?.prover !== producer) return;
    known.prover = undefined;
    this.#tell(known);
  }

  /** Deduplication is on. */
  proved(topic: string): void {
    const known = this.#topics.get(topic)!;
    if (known.isProved && known.prover === undefined) return;
    known.isProved = true;
    known.prover = undefined;
    this.#tell(known);
  }

  #tell(known: TopicProof): void {
    const waiting = [...known.waiting];
    known.waiting.clear();
    for (const producer of waiting) producer.proofChanged();
  }
}
