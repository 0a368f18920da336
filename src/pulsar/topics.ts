// All topics of a sink: finds the one that a message names, closes what nobody uses, asks again about partitions.
// Under effectively once each party has topics of its own, closed with it.

import { ConnectorError, toConnectorError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { SinkMessage } from "../core/record.ts";
import { orAborted } from "../core/until-aborted.ts";
import { Producer } from "./producer.ts";
import type { Delivery, OnceIdentity } from "./sink.ts";
import { Topic, type TopicContext } from "./topic.ts";
import { fullTopicName, partitionName } from "./topic-name.ts";
import { OnceTable, TopicTable } from "./topic-table.ts";

/** How often partitions are counted anew (growth shows within a minute, as in Java) and failures forgotten. */
const SWEEP_MS = 55_000;
/** Sweeps without a message after which a topic's producers are closed: ten minutes. */
const UNUSED_SWEEPS = 11;

/** See the file's header. One per sink. */
export class Topics {
  readonly #context: TopicContext;
  readonly #log: Logger;
  /** Topics without producers are forgotten when there are more. */
  readonly #mostTopics: number;
  readonly #common = new TopicTable();
  /** Effectively once: by producer name. */
  readonly #once = new Map<string, OnceTable>();
  /** Of topics that are closed already. */
  readonly #goodbyes = new Set<Promise<void>>();

  constructor(context: TopicContext, mostTopics: number, log: Logger) {
    this.#context = context;
    this.#mostTopics = mostTopics;
    this.#log = log;
    this.#sweep().catch((error: unknown) => context.events.fatal(toConnectorError(error)));
  }

  /** See MessageSink.send. A refusal is told later. */
  send(message: SinkMessage, delivery: Delivery, ordinal: number, sequenceId?: number): void {
    const { once } = delivery;
    const table = once === undefined
      ? this.#common
      : this.#once.get(once.producerName) ?? this.#addTable(once);
    const topic = table.given(message.topic) ?? this.#find(table, message.topic);
    if (topic instanceof Topic) return topic.send(message, delivery, ordinal, sequenceId);
    queueMicrotask(() => {
      this.#context.finished(1);
      void delivery.refused(ordinal, topic); // there is no producer that could wait
    });
  }

  /** See MessageSink.open. */
  async open(givenName: string, signal: AbortSignal): Promise<void> {
    const name = fullTopicName(givenName);
    let topic = this.#common.get(name);
    if (topic === undefined) {
      const partitions = await orAborted(this.#context.lookup().partitions(name), signal);
      topic = this.#common.get(name) ?? this.#add(this.#common, name, partitions);
    }
    await orAborted(topic.open(), signal);
  }

  /**
   * Effectively once, where producers belong to parties that are not there yet: opens one without a name on one
   * partition, which shows what a broker may refuse, and closes it again. Rejects as MessageSink.open.
   */
  async look(givenName: string, signal: AbortSignal): Promise<void> {
    const { events, clock } = this.#context;
    const name = fullTopicName(givenName);
    refuseNonPersistent(name);
    const lookup = this.#context.lookup();
    const partitions = await orAborted(lookup.partitions(name), signal);
    const one = Math.floor(clock.random() * partitions);
    const topic = partitions === 0 ? name : partitionName(name, one);
    await orAborted(lookup.broker(topic), signal);
    const producer = new Producer(topic, { ...this.#context, events: { fatal: events.fatal } });
    try {
      await orAborted(producer.opened(), signal);
    } finally {
      await producer.close();
    }
  }

  flush(): void {
    for (const topic of this.#all()) topic.flush();
  }

  /** See MessageSink.drop. */
  drop(delivery: Delivery): void {
    const { once } = delivery;
    const table = once === undefined ? this.#common : this.#once.get(once.producerName);
    if (table === undefined) return;
    const isOver = table instanceof OnceTable && table.identity === once;
    if (isOver) this.#once.delete(table.identity.producerName);
    for (const topic of table.all()) {
      topic.drop(delivery);
      if (isOver) this.#close(topic);
    }
  }

  async close(): Promise<void> {
    for (const topic of this.#all()) this.#close(topic);
    await Promise.all(this.#goodbyes);
  }

  #all(): Topic[] {
    return [this.#common, ...this.#once.values()].flatMap((table) => table.all());
  }

  #addTable(once: OnceIdentity): OnceTable {
    const table = new OnceTable(once);
    this.#once.set(once.producerName, table);
    return table;
  }

  /** The topic, or why there can be none. */
  #find(table: TopicTable, givenName: string): Topic | ConnectorError {
    try {
      const name = fullTopicName(givenName);
      if (table instanceof OnceTable) refuseNonPersistent(name);
      const topic = table.get(name) ?? this.#add(table, name);
      table.remember(givenName, topic);
      return topic;
    } catch (error) {
      if (error instanceof ConnectorError) return error;
      throw error;
    }
  }

  #add(table: TopicTable, name: string, partitions?: number): Topic {
    if (table.size >= this.#mostTopics) this.#forgetEmpty(table);
    const once = table instanceof OnceTable ? table : undefined;
    const topic = new Topic(name, this.#context, { partitions, once });
    table.add(topic);
    return topic;
  }

  /** A hook may make names without end; each topic that is left has messages on their way. */
  #forgetEmpty(table: TopicTable): void {
    for (const topic of table.all()) if (topic.isEmpty) this.#closeIn(table, topic);
  }

  #closeIn(table: TopicTable, topic: Topic): void {
    table.delete(topic);
    this.#close(topic);
  }

  #close(topic: Topic): void {
    const goodbye = topic.close().catch((error: unknown) =>
      this.#context.events.fatal(toConnectorError(error))
    );
    this.#goodbyes.add(goodbye);
    void goodbye.then(() => this.#goodbyes.delete(goodbye));
  }

  async #sweep(): Promise<void> {
    const { clock, signal } = this.#context;
    for (;;) {
      await clock.sleep(SWEEP_MS, signal);
      if (signal.aborted) return;
      for (const table of [this.#common, ...this.#once.values()]) {
        for (const topic of table.all()) {
          topic.forgetFailures();
          if (topic.countUnused() >= UNUSED_SWEEPS) this.#closeIn(table, topic);
          else void this.#refresh(topic);
        }
      }
    }
  }

  async #refresh(topic: Topic): Promise<void> {
    try {
      await topic.refreshPartitions();
    } catch (error) {
      if (!(error instanceof ConnectorError)) return this.#context.events.fatal(toConnectorError(error));
      this.#log.debug("partitions of a topic could not be counted", { topic: topic.name, error });
    }
  }
}

function refuseNonPersistent(topic: string): void {
  if (!topic.startsWith("non-persistent:")) return;
  throw new ConnectorError(
    `effectively-once delivery needs persistent topics, and ${topic} is none: brokers deduplicate no other. ` +
      "Name another topic, or use at-least-once delivery",
    { code: "PULSAR_REFUSED", where: { topic } },
  );
}
