// A double of the official client (npm `pulsar-client`): behaves as that one was seen to behave and as its sources
// say, traps included. What would end the process there throws ProcessAborted here.

import { Buffer } from "node:buffer";
import { clearTimeout, setTimeout } from "node:timers";
import { murmur3 } from "../../../src/pulsar/routing.ts";
import type {
  ClientConfig,
  NativeProducer,
  ProducerConfig,
  ProducerMessage,
  PulsarClient,
  PulsarClientModule,
} from "../../../src/pulsar/native/api.ts";

/** A C++ exception that nobody catches. */
export class ProcessAborted extends Error {}

/** What came into a topic. */
export interface StoredMessage extends ProducerMessage {
  readonly partition: number;
  /** Number of the entry it was in. */
  readonly entry: number;
}

/** What a client was given to prove who it is. */
export interface AuthenticationDouble {
  readonly method: "token" | "basic" | "tls";
  readonly params: object;
}

interface Held {
  readonly message: ProducerMessage;
  readonly resolve: (id: object) => void;
  readonly reject: (error: Error) => void;
}

/** The service behind the client, and the module to give to the driver. */
export class ClientDouble {
  readonly configs: ClientConfig[] = [];
  readonly producers: ProducerConfig[] = [];
  /** Topic (full name) → number of partitions. */
  readonly partitions = new Map<string, number>();
  maxMessageSize = 5 * 1024 * 1024;
  /** While set, receipts are kept back. */
  holdsReceipts = false;
  closedProducers = 0;
  closedClients = 0;
  readonly module: PulsarClientModule;
  readonly #stored = new Map<string, StoredMessage[]>();
  readonly #failures: { readonly what: "create" | "send"; result: string; times: number; topic?: string }[] =
    [];
  #receipts: (() => void)[] = [];
  #entries = 0;

  constructor() {
    // deno-lint-ignore no-this-alias
    const service = this;
    const authentication = <P extends object>(method: AuthenticationDouble["method"]) =>
      class implements AuthenticationDouble {
        readonly method = method;
        readonly params: P;
        constructor(params: P) {
          this.params = params;
        }
      };
    this.module = {
      Client: class implements PulsarClient {
        constructor(config: ClientConfig) {
          if (config.serviceUrl === "") throw new Error("Service URL is required");
          service.configs.push(config);
        }
        async createProducer(config: ProducerConfig): Promise<NativeProducer> {
          service.producers.push(config);
          if (config.batchingMaxMessages === 1) throw new ProcessAborted("std::invalid_argument");
          await Promise.resolve();
          const result = service.nextFailure("create", config.topic);
          if (result !== undefined) throw new Error(`Failed to create producer: ${result}`);
          return new ProducerDouble(service, config);
        }
        close(): Promise<null> {
          service.closedClients++;
          return Promise.resolve(null);
        }
      },
      AuthenticationToken: authentication("token"),
      AuthenticationBasic: authentication("basic"),
      AuthenticationTls: authentication("tls"),
    };
  }

  /** What a topic holds, partition after partition. */
  messages(topic: string): StoredMessage[] {
    const stored = this.#stored.get(topic) ?? [];
    return [...stored].sort((a, b) => a.partition - b.partition || a.entry - b.entry);
  }

  /** The next calls fail with this result. */
  fail(what: "create" | "send", result: string, { times = 1, topic = "" } = {}): void {
    this.#failures.push({ what, result, times, topic });
  }

  /** Gives the receipts that were kept back. */
  releaseReceipts(): void {
    this.holdsReceipts = false;
    for (const receipt of this.#receipts.splice(0)) receipt();
  }

  nextFailure(what: "create" | "send", topic: string): string | undefined {
    const failure = this.#failures.find((one) =>
      one.what === what && one.times > 0 && topic.includes(one.topic ?? "")
    );
    if (failure === undefined) return undefined;
    failure.times--;
    return failure.result;
  }

  store(topic: string, partition: number, batch: readonly Held[]): void {
    const entry = this.#entries++;
    const stored = this.#stored.get(topic) ?? [];
    this.#stored.set(topic, stored);
    for (const { message } of batch) stored.push({ ...message, partition, entry });
    const receipt = (): void => batch.forEach(({ resolve }) => resolve({}));
    if (this.holdsReceipts) this.#receipts.push(receipt);
    else setTimeout(receipt, 0);
  }
}

class ProducerDouble implements NativeProducer {
  readonly #service: ClientDouble;
  readonly #config: ProducerConfig;
  readonly #batches = new Map<number, Held[]>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #turn = 0;
  #pending = 0;
  #isClosed = false;

  constructor(service: ClientDouble, config: ProducerConfig) {
    this.#service = service;
    this.#config = config;
  }

  send(given: ProducerMessage): Promise<unknown> {
    const { topic, batchingEnabled = true, maxPendingMessages = 1000 } = this.#config;
    const failed = (result: string): Promise<never> =>
      Promise.reject(new Error(`Failed to send message: ${result}`));
    if (this.#isClosed) return failed("AlreadyClosed");
    if (this.#pending >= maxPendingMessages) return failed("ProducerQueueIsFull");
    const result = this.#service.nextFailure("send", topic);
    if (result !== undefined) return failed(result);
    const message = asCStrings(given);
    const partition = this.#partition(message);
    this.#pending++;
    return new Promise((resolve, reject) => {
      const held: Held = {
        message,
        resolve: (id) => {
          this.#pending--;
          resolve(id);
        },
        reject: (error) => {
          this.#pending--;
          reject(error);
        },
      };
      // A delayed message goes at once, ahead of what the open batch holds.
      if (!batchingEnabled || message.deliverAt !== undefined) this.#store(partition, [held]);
      else this.#add(partition, held);
    });
  }

  flush(): Promise<null> {
    for (const partition of [...this.#batches.keys()]) this.#seal(partition);
    return Promise.resolve(null);
  }

  close(): Promise<null> {
    this.#isClosed = true;
    this.#service.closedProducers++;
    clearTimeout(this.#timer);
    for (const batch of this.#batches.values()) {
      for (const { reject } of batch) reject(new Error("Failed to send message: AlreadyClosed"));
    }
    this.#batches.clear();
    return Promise.resolve(null);
  }

  #partition(message: ProducerMessage): number {
    const count = this.#service.partitions.get(this.#config.topic) ?? 0;
    if (count === 0) return -1;
    if (message.partitionKey === undefined) return this.#turn++ % count;
    if (this.#config.hashingScheme !== "Murmur3_32Hash") return message.partitionKey.length % count;
    return murmur3(message.partitionKey) % count;
  }

  #add(partition: number, held: Held): void {
    const { batchingMaxMessages = 1000, batchingMaxAllowedSizeInBytes = 128 * 1024 } = this.#config;
    const open = this.#batches.get(partition) ?? [];
    if (open.length > 0 && payloads([...open, held]) > batchingMaxAllowedSizeInBytes) {
      this.#seal(partition);
      return this.#add(partition, held);
    }
    open.push(held);
    this.#batches.set(partition, open);
    if (open.length >= batchingMaxMessages || payloads(open) >= batchingMaxAllowedSizeInBytes) {
      this.#seal(partition);
    } else {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        void this.flush();
      }, this.#config.batchingMaxPublishDelayMs || 10);
    }
  }

  #seal(partition: number): void {
    const batch = this.#batches.get(partition);
    this.#batches.delete(partition);
    if (batch !== undefined) this.#store(partition, batch);
  }

  #store(partition: number, batch: readonly Held[]): void {
    const { topic, batchingEnabled = true, chunkingEnabled = false } = this.#config;
    const size = batch.reduce((sum, { message }) => sum + message.data.length + propertyBytes(message), 0);
    if (size > this.#service.maxMessageSize && (batchingEnabled || !chunkingEnabled)) {
      for (const { reject } of batch) reject(new Error("Failed to send message: MessageTooBig"));
    } else this.#service.store(topic, partition, batch);
  }
}

function payloads(batch: readonly Held[]): number {
  return batch.reduce((sum, { message }) => sum + message.data.length, 0);
}

function propertyBytes({ properties = {} }: ProducerMessage): number {
  return Object.entries(properties).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
}

/** A copy, as the add-on makes it: texts end at NUL. */
function asCStrings(message: ProducerMessage): ProducerMessage {
  const cut = (text: string): string => text.split("\0", 1)[0]!;
  const copy = { ...message, data: Buffer.from(message.data) };
  if (copy.partitionKey !== undefined) copy.partitionKey = cut(copy.partitionKey);
  if (copy.orderingKey !== undefined) copy.orderingKey = cut(copy.orderingKey);
  return copy;
}
