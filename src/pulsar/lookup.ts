// Asks a service URL where topics are: how many partitions, and which broker serves one. Of several hosts one is
// chosen at random and kept while it answers, so that a dead or silent one costs its time-out once and not at every turn.

import { ConnectorError, messageOf } from "../core/errors.ts";
import type { BrokerTarget, Connection } from "./connection.ts";
import type { ConnectionPool } from "./connection-pool.ts";
import { brokerError, noSuchListener } from "./errors.ts";
import type { ClientIds } from "./ids.ts";
import { addressText, type BrokerAddress, brokerAddress, parseServiceUrl } from "./service-url.ts";
import {
  type Command,
  type CommandName,
  type CommandOf,
  LOOKUP_CONNECT,
  LOOKUP_FAILED,
  METADATA_FAILED,
} from "./wire/commands.ts";
import { protocolError } from "./wire/protobuf.ts";

/** As in other clients: more redirects are a loop. */
const MAX_REDIRECTS = 20;

/** What a lookup needs. */
export interface LookupOptions {
  readonly serviceUrl: string;
  readonly pool: ConnectionPool;
  readonly ids: ClientIds;
  /** Which of a broker's addresses to ask for. */
  readonly listenerName?: string | undefined;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

interface Service {
  readonly connection: Connection;
  readonly dial: BrokerAddress;
  readonly turn: number;
}

/** One service URL's lookups. */
export class Lookup {
  readonly #options: LookupOptions;
  readonly #hosts: readonly BrokerAddress[];
  /** Which host is asked (modulo their number). */
  #turn: number;

  /** Throws CONFIG_INVALID for a broken service URL. */
  constructor(options: LookupOptions) {
    this.#options = options;
    this.#hosts = parseServiceUrl(options.serviceUrl);
    this.#turn = Math.floor(options.random() * this.#hosts.length);
  }

  /** Number of partitions; 0 for a topic without. May create the topic. */
  partitions(topic: string): Promise<number> {
    return this.#atService(({ connection }) => this.#partitions(topic, connection));
  }

  async #partitions(topic: string, connection: Connection): Promise<number> {
    const requestId = this.#options.ids.nextRequestId();
    const answer = await connection.request("PARTITIONED_METADATA", { topic, requestId });
    const metadata = expect(answer, "PARTITIONED_METADATA_RESPONSE");
    if (metadata.response === METADATA_FAILED || metadata.error !== undefined) {
      throw brokerError(metadata.error, metadata.message ?? "", {
        operation: "PARTITIONED_METADATA",
        topic,
        broker: connection.name,
      });
    }
    return metadata.partitions ?? 0;
  }

  /** A connection to the broker that serves a concrete topic. */
  broker(topic: string): Promise<Connection> {
    return this.#atService((service) => this.#broker(topic, service));
  }

  async #broker(topic: string, service: Service): Promise<Connection> {
    let { connection, dial } = service;
    let authoritative = false;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const answer: Command = await connection.request("LOOKUP", {
        topic,
        requestId: this.#options.ids.nextRequestId(),
        authoritative,
        advertisedListenerName: this.#options.listenerName,
      });
      const found: CommandOf<"LOOKUP_RESPONSE"> = expect(answer, "LOOKUP_RESPONSE");
      if (found.response === LOOKUP_FAILED || found.error !== undefined) {
        const at = { operation: "LOOKUP", topic, broker: connection.name };
        const error = brokerError(found.error, found.message ?? "", at);
        throw noSuchListener(error, found.message ?? "", this.#options.listenerName) ?? error;
      }
      const target = this.#target(found, dial, topic);
      connection = await this.#options.pool.get(target);
      if (found.response === LOOKUP_CONNECT) return connection;
      dial = target.dial;
      authoritative = found.authoritative;
    }
    throw new ConnectorError(
      `the brokers send the lookup of topic ${topic} around in a circle (${MAX_REDIRECTS} redirects)`,
      { code: "PULSAR_UNAVAILABLE", retryable: true, where: { topic, operation: "LOOKUP" } },
    );
  }

  /** A connection to a broker that another broker named. */
  assigned(target: BrokerTarget): Promise<Connection> {
    return this.#options.pool.get(target);
  }

  #target(found: CommandOf<"LOOKUP_RESPONSE">, dialled: BrokerAddress, topic: string): BrokerTarget {
    const url = dialled.tls ? found.brokerServiceUrlTls : found.brokerServiceUrl;
    if (!url) {
      throw new ConnectorError(
        `the broker of topic ${topic} has no ${dialled.tls ? "TLS" : "plain"} address: ` +
          (dialled.tls
            ? "set brokerServicePortTls (and its listeners) on every broker, or use a service URL with pulsar://"
            : "use a service URL with pulsar+ssl://, or set brokerServicePort on every broker"),
        { code: "PULSAR_REFUSED", where: { topic, operation: "LOOKUP" } },
      );
    }
    const named = brokerAddress(url);
    if (named === undefined) {
      throw new ConnectorError(
        `the broker of topic ${topic} advertises "${url}", which is no address: correct its advertisedAddress or ` +
          "advertisedListeners",
        { code: "PULSAR_REFUSED", where: { topic, operation: "LOOKUP" } },
      );
    }
    const broker = { ...named, tls: dialled.tls }; // whatever the scheme says: never from TLS to plain
    // A standalone broker says so too, of itself; addresses that are equal need no proxying (as in Java).
    const isProxied = found.proxyThroughServiceUrl && addressText(broker) !== addressText(dialled);
    return isProxied ? { dial: dialled, behindProxy: broker } : { dial: broker };
  }

  /** What `work` gives at the present host; one that cannot help is left for the next one. */
  async #atService<T>(work: (service: Service) => Promise<T>): Promise<T> {
    const service = await this.#service();
    try {
      return await work(service);
    } catch (error) {
      if (error instanceof ConnectorError && error.retryable) this.#leave(service.turn);
      throw error;
    }
  }

  /** A connection to the present host, or the first one after it that answers. */
  async #service(): Promise<Service> {
    const failures: ConnectorError[] = [];
    for (let tries = 0; tries < this.#hosts.length; tries++) {
      const turn = this.#turn;
      const dial = this.#hosts[turn % this.#hosts.length]!;
      try {
        return { connection: await this.#options.pool.get({ dial }), dial, turn };
      } catch (error) {
        if (!(error instanceof ConnectorError) || !error.retryable) throw error;
        failures.push(error);
        this.#leave(turn);
      }
    }
    if (failures.length === 1) throw failures[0]!;
    throw new ConnectorError(
      `no host of ${this.#options.serviceUrl} answers: ${failures.map(messageOf).join("; ")}`,
      { code: "PULSAR_UNREACHABLE", retryable: true, cause: failures[0] },
    );
  }

  /** Once for all who found the same host useless. */
  #leave(turn: number): void {
    if (this.#turn === turn) this.#turn++;
  }
}

function expect<N extends CommandName>(answer: Command, name: N): CommandOf<N> {
  if (answer.name !== name) throw protocolError(`${answer.name} where ${name} was expected`);
  return answer as CommandOf<N>;
}
