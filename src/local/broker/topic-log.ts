// The entries of one concrete topic, in memory. Invariant: entry ids count upwards without gaps; what is kept is
// always the newest part, within the cap, and what was dropped is counted.

import { Buffer } from "node:buffer";

/** One SEND: a message, or a batch of several. */
export interface StoredEntry {
  readonly entryId: number;
  /** Everything behind the command of the frame, as it came. */
  readonly bytes: Buffer;
  /** 0 for a chunk of a message that is not its last. */
  readonly messages: number;
  readonly batched: boolean;
  /** Epoch milliseconds. */
  readonly publishTime: number;
}

/** What an entry costs beside its bytes, roughly. */
const ENTRY_OVERHEAD = 200;
/** Dropped entries are cut off the array when there are so many. */
const COMPACT_AT = 1024;

/** A topic's entries. */
export class TopicLog {
  readonly #maxBytes: number;
  readonly #entries: (StoredEntry | undefined)[] = [];
  /** Index of the oldest entry that is kept. */
  #head = 0;
  #bytes = 0;
  /** The id that the next entry gets. */
  nextEntryId = 0;
  /** Messages that are kept. */
  messages = 0;
  /** Messages that had to make room for newer ones. */
  dropped = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are kept, overhead included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest entry that is kept; {@link nextEntryId} when there is none. */
  get firstEntryId(): number {
    return this.nextEntryId - (this.#entries.length - this.#head);
  }

  /** Stores a copy of the bytes; the newest entry is kept even if it is larger than the cap. */
  append(bytes: Uint8Array, entry: Omit<StoredEntry, "entryId" | "bytes">): StoredEntry {
    const stored = { ...entry, entryId: this.nextEntryId++, bytes: Buffer.from(bytes) };
    this.#entries.push(stored);
    this.#bytes += stored.bytes.length + ENTRY_OVERHEAD;
    this.messages += stored.messages;
    while (this.#bytes > this.#maxBytes && this.#entries.length - this.#head > 1) this.#dropOldest();
    return stored;
  }

  /** The entry with this id, if it is kept. */
  get(entryId: number): StoredEntry | undefined {
    const index = entryId - this.firstEntryId;
    return index < 0 ? undefined : this.#entries[this.#head + index];
  }

  /** All entries that are kept, oldest first. */
  *entries(): Generator<StoredEntry> {
    for (let id = this.firstEntryId; id < this.nextEntryId; id++) {
      const entry = this.get(id);
      if (entry) yield entry;
    }
  }

  #dropOldest(): void {
    const oldest = this.#entries[this.#head]!;
    this.#entries[this.#head++] = undefined;
    this.#bytes -= oldest.bytes.length + ENTRY_OVERHEAD;
    this.messages -= oldest.messages;
    this.dropped += oldest.messages;
    if (this.#head >= COMPACT_AT) {
      this.#entries.splice(0, this.#head);
      this.#head = 0;
    }
  }
}
