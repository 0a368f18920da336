// Topics by the names that messages give them. One table for all parties together, and one for each party that has
// producers of its own (effectively once), with what has to be remembered while none is open.

import { newHistory, type OnceHistory } from "./once-guard.ts";
import type { OnceIdentity } from "./sink.ts";
import type { Topic } from "./topic.ts";

/** See the file's header. */
export class TopicTable {
  /** By full name. */
  readonly #topics = new Map<string, Topic>();
  /** By the names that messages gave, which may be short. */
  readonly #byGivenName = new Map<string, Topic>();

  get size(): number {
    return this.#topics.size;
  }

  /** By the name that a message gives. */
  given(name: string): Topic | undefined {
    return this.#byGivenName.get(name);
  }

  /** From now on the name means this topic. */
  remember(givenName: string, topic: Topic): void {
    this.#byGivenName.set(givenName, topic);
  }

  /** By full name. */
  get(fullName: string): Topic | undefined {
    return this.#topics.get(fullName);
  }

  add(topic: Topic): void {
    this.#topics.set(topic.name, topic);
  }

  delete(topic: Topic): void {
    this.#topics.delete(topic.name);
    for (const [name, known] of this.#byGivenName) if (known === topic) this.#byGivenName.delete(name);
  }

  /** A copy: topics may be deleted meanwhile. */
  all(): Topic[] {
    return [...this.#topics.values()];
  }
}

/** The topics of one party: of a shard, and of its dead letters. */
export class OnceTable extends TopicTable {
  readonly identity: OnceIdentity;
  readonly #histories = new Map<string, OnceHistory>();

  constructor(identity: OnceIdentity) {
    super();
    this.identity = identity;
  }

  /** What is known of its name on a concrete topic. */
  history(topic: string): OnceHistory {
    let history = this.#histories.get(topic);
    if (history === undefined) this.#histories.set(topic, history = newHistory());
    return history;
  }
}
