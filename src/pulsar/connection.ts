// One connection to a broker: handshake, keepalive, requests and their answers; frame-writer.ts says who writes when.
// Invariants: PONG and answers to challenges do not wait for anything; what cannot be understood closes the connection.

import type { Buffer } from "node:buffer";
import type { Clock } from "../core/clock.ts";
import { ConnectorError, messageOf, toConnectorError } from "../core/errors.ts";
import { orAborted } from "../core/until-aborted.ts";
import type { AuthSupplier } from "./auth/supplier.ts";
import {
  type ConnectAttempt,
  connectFailure,
  connectRefused,
  connectTimeout,
  isTlsRecord,
  tlsExpected,
} from "./connect-errors.ts";
import { unreachable } from "./errors.ts";
import { type FrameSource, FrameWriter } from "./frame-writer.ts";
import { Keepalive } from "./keepalive.ts";
import { RequestTable } from "./requests.ts";
import { addressText, type BrokerAddress, brokerAddress } from "./service-url.ts";
import type { Transport, TransportFactory } from "./transport.ts";
import type { Command, CommandFields, CommandName, CommandOf } from "./wire/commands.ts";
import {
  commandType,
  decodeCommand,
  DEFAULT_MAX_MESSAGE_SIZE,
  encodeCommand,
  FRAME_PADDING,
} from "./wire/frames.ts";
import { readReceipt, type Receipt, SEND_RECEIPT_TYPE } from "./wire/receipt.ts";
import { FrameSplitter } from "./wire/splitter.ts";

/** The protocol's version that we speak: 20 brought TOPIC_MIGRATED. */
const PROTOCOL_VERSION = 20;

/** A producer as its connection sees it. */
export interface ProducerPort extends FrameSource {
  readonly producerId: number;
  receipt(sequenceId: number, isDuplicate: boolean): void;
  sendError(error: CommandOf<"SEND_ERROR">): void;
  closedByBroker(command: CommandOf<"CLOSE_PRODUCER">): void;
  migrated(command: CommandOf<"TOPIC_MIGRATED">): void;
  connectionLost(error: ConnectorError): void;
}

/** A broker and the way to it. */
export interface BrokerTarget {
  /** Where to dial: the broker itself, or a proxy. */
  readonly dial: BrokerAddress;
  /** The broker behind the proxy. */
  readonly behindProxy?: BrokerAddress | undefined;
}

/** What a connection needs. */
export interface ConnectionOptions {
  /** Where to dial. */
  readonly address: BrokerAddress;
  /** host:port of the broker behind the dialled proxy. */
  readonly proxyTo?: string | undefined;
  readonly transport: TransportFactory;
  readonly auth: AuthSupplier;
  /** A broker was reached before: a stranger who answers now (a load balancer?) will go away again. */
  readonly isProven: boolean;
  readonly clientVersion: string;
  readonly clock: Clock;
  /** For connecting and handshake together, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Milliseconds between PINGs; twice that without an answer closes. */
  readonly keepAliveMs: number;
  readonly requestTimeoutMs: number;
  /** Closed when unused so long, milliseconds. */
  readonly idleMs: number;
  /** After the handshake, once. */
  readonly onClosed: (error: ConnectorError) => void;
  /** A receipt's listener threw: a defect of this program. */
  readonly onDefect: (error: ConnectorError) => void;
}

interface Handshake {
  resolve(): void;
  reject(error: ConnectorError): void;
}

/** See the file's header. Made by {@link Connection.open}. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #splitter = new FrameSplitter((frame) => this.#onFrame(frame));
  readonly #producers = new Map<number, ProducerPort>();
  readonly #writer = new FrameWriter((error) => this.#defect(error));
  readonly #requests: RequestTable;
  readonly #keepalive: Keepalive;
  readonly #receipt: Receipt = { producerId: 0, sequenceId: 0, ledgerId: 0 };
  #transport: Transport | undefined;
  /** While CONNECT has no answer. */
  #handshake: Handshake | undefined;
  /** What was sent last. */
  #authData: Uint8Array | undefined;
  /** Hands were shaken: its owner knows it. */
  #isOpen = false;
  #closedBy: ConnectorError | undefined;
  /** Largest message this broker takes. */
  maxMessageSize: number = DEFAULT_MAX_MESSAGE_SIZE;

  /** Connects and shakes hands. Rejects as `connect-errors.ts` says, with PULSAR_PROTOCOL, or as the AuthSupplier. */
  static async open(options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
    const connection = new Connection(options);
    await connection.#open(signal);
    return connection;
  }

  private constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#requests = new RequestTable(options.clock, options.requestTimeoutMs, this.name);
    this.#keepalive = new Keepalive({
      clock: options.clock,
      everyMs: options.keepAliveMs,
      idleMs: options.idleMs,
      inUse: () => this.#producers.size > 0 || this.#requests.size > 0,
      ping: () => this.send("PING", {}),
      lost: (why) => this.close(unreachable(options.address, why, "lost")),
    });
  }

  /** The broker's address, for logs. */
  get name(): string {
    const address = addressText(this.#options.address);
    return this.#options.proxyTo === undefined ? address : `${this.#options.proxyTo} via ${address}`;
  }

  /** Of two addresses that a broker gives, plain and encrypted, the one of this connection's kind. */
  ownKind(plain: string | undefined, tls: string | undefined): string | undefined {
    return (this.#options.address.tls ? tls : plain) || undefined;
  }

  /** The way to another broker that this one named (an address of {@link ownKind}): through the same proxy, if any. */
  wayTo(url: string | undefined): BrokerTarget | undefined {
    const named = url === undefined ? undefined : brokerAddress(url);
    if (named === undefined) return undefined;
    const { address, proxyTo } = this.#options;
    const broker = { ...named, tls: address.tls };
    return proxyTo === undefined ? { dial: broker } : { dial: address, behindProxy: broker };
  }

  /** Why it cannot be used any more. */
  get closedBy(): ConnectorError | undefined {
    return this.#closedBy;
  }

  /** From now on the producer hears what is for it. Before PRODUCER is sent. */
  register(producer: ProducerPort): void {
    this.#producers.set(producer.producerId, producer);
  }

  /** It hears nothing more. */
  unregister(producer: ProducerPort): void {
    if (this.#producers.get(producer.producerId) === producer) this.#producers.delete(producer.producerId);
    this.#writer.forget(producer);
  }

  /** The producer has frames: it is asked for them when its turn comes. */
  wantsToWrite(producer: ProducerPort): void {
    this.#writer.wants(producer);
  }

  /** Writes a command at once. */
  send<N extends CommandName>(name: N, fields: CommandFields<N>): void {
    if (this.#closedBy === undefined) this.#writer.write([encodeCommand(name, fields)]);
  }

  /** Sends a request; the answer is the command with the same request id. Rejects with what ERROR says. */
  request<N extends CommandName>(
    name: N,
    fields: CommandFields<N> & { readonly requestId: number; readonly topic?: string },
  ): Promise<Command> {
    if (this.#closedBy !== undefined) return Promise.reject(this.#closedBy);
    const answer = this.#requests.expect(fields.requestId, name, fields.topic);
    this.send(name, fields);
    return answer;
  }

  /** Closes at once; producers and requests learn why. */
  close(error: ConnectorError): void {
    if (this.#closedBy !== undefined) return;
    this.#closedBy = error;
    this.#writer.close();
    this.#transport?.destroy();
    this.#keepalive.stop();
    this.#requests.fail(error);
    const producers = [...this.#producers.values()];
    this.#producers.clear();
    this.#handshake?.reject(error);
    if (this.#isOpen) this.#options.onClosed(error);
    for (const producer of producers) producer.connectionLost(error);
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { address, transport, auth, clock, connectTimeoutMs, isProven } = this.#options;
    let phase: ConnectAttempt["phase"] = "connect";
    const timer = new AbortController();
    try {
      // Suppliers have time limits of their own: asking an issuer for a token is not the broker's time.
      const authData = this.#authData = await orAborted(auth.authData(), signal);
      const opening = AbortSignal.any([signal, timer.signal]);
      void clock.sleep(connectTimeoutMs, opening).then(() => {
        if (!opening.aborted) timer.abort(connectTimeout({ address, phase, isProven }, connectTimeoutMs));
      });
      this.#transport = await transport(address, {
        data: (chunk) => this.#onData(chunk),
        closed: (reason) => this.close(this.#lost(reason)),
      }, opening);
      this.#writer.open(this.#transport);
      phase = "handshake";
      await new Promise<void>((resolve, reject) => {
        this.#handshake = { resolve, reject };
        opening.addEventListener("abort", () => reject(opening.reason), { once: true });
        opening.throwIfAborted();
        if (this.#closedBy !== undefined) throw this.#closedBy; // behind the TLS handshake, without a certificate of ours
        this.send("CONNECT", {
          clientVersion: this.#options.clientVersion,
          protocolVersion: PROTOCOL_VERSION,
          authMethodName: auth.method,
          authData,
          proxyToBrokerUrl: this.#options.proxyTo,
          featureFlags: { supportsAuthRefresh: true },
        });
      });
      this.#handshake = undefined;
      if (this.#closedBy !== undefined) throw this.#closedBy; // right behind CONNECTED
      this.#isOpen = true;
      this.#keepalive.start();
    } catch (cause) {
      this.#handshake = undefined;
      this.#closedBy ??= connectFailure(cause, { address, phase, isProven });
      this.#transport?.destroy();
      throw this.#closedBy;
    } finally {
      timer.abort();
    }
  }

  #lost(reason: Error): ConnectorError {
    const { address, isProven } = this.#options;
    if (this.#isOpen) return unreachable(address, reason, "lost");
    return connectFailure(reason, { address, phase: "handshake", isProven });
  }

  #onData(chunk: Uint8Array): void {
    if (this.#closedBy !== undefined) return;
    const { address, isProven } = this.#options;
    if (this.#handshake !== undefined && !address.tls && isTlsRecord(chunk)) {
      return this.close(tlsExpected({ address, phase: "handshake", isProven }));
    }
    try {
      this.#splitter.push(chunk);
    } catch (error) {
      if (error instanceof ConnectorError && error.code === "PULSAR_PROTOCOL") {
        this.close(this.#broken(error));
      } else this.#defect(error);
    }
  }

  /** At the first handshake ever it is no Pulsar broker at all, which waiting does not cure. */
  #broken(error: ConnectorError): ConnectorError {
    const isLost = this.#handshake === undefined || this.#options.isProven;
    const where = isLost
      ? `lost the broker ${this.name}`
      : `${this.name} is no Pulsar broker (is this the port of its binary protocol, 6650 by default?)`;
    return new ConnectorError(`${where}: ${error.message}`, {
      code: "PULSAR_PROTOCOL",
      retryable: isLost,
      cause: error,
    });
  }

  #defect(error: unknown): void {
    const defect = toConnectorError(error);
    this.close(defect);
    this.#options.onDefect(defect);
  }

  #onFrame(frame: Buffer): void {
    if (this.#closedBy !== undefined) return;
    if (commandType(frame) === SEND_RECEIPT_TYPE) {
      this.#keepalive.heard();
      const receipt = this.#receipt;
      readReceipt(frame, receipt);
      this.#producers.get(receipt.producerId)?.receipt(receipt.sequenceId, receipt.ledgerId === -1);
      return;
    }
    const command = decodeCommand(frame);
    if (command?.name !== "PING") this.#keepalive.heard();
    if (command !== undefined) this.#onCommand(command);
  }

  #onCommand(command: Command): void {
    switch (command.name) {
      case "PING":
        return this.send("PONG", {});
      case "CONNECTED":
        if ((command.maxMessageSize ?? 0) > 0) this.maxMessageSize = command.maxMessageSize!;
        this.#splitter.maxFrameSize = this.maxMessageSize + FRAME_PADDING;
        return this.#handshake?.resolve();
      case "AUTH_CHALLENGE":
        void this.#answerChallenge();
        return;
      case "SEND_ERROR":
        return this.#producers.get(command.producerId)?.sendError(command);
      case "CLOSE_PRODUCER":
        return this.#producers.get(command.producerId)?.closedByBroker(command);
      case "TOPIC_MIGRATED":
        if (command.resourceType === 0) this.#producers.get(command.resourceId)?.migrated(command);
        return;
      case "ERROR": {
        const { error, message, requestId } = command;
        if (this.#handshake !== undefined) {
          const { auth, clock } = this.#options;
          const refusal = connectRefused(error, message, this.name, auth, this.#authData, clock.now());
          if (refusal.code === "PULSAR_NOT_AUTHORIZED") auth.refused?.();
          return this.close(refusal);
        }
        return this.#requests.refuse(requestId, error, message);
      }
      case "SUCCESS":
      case "PRODUCER_SUCCESS":
      case "PARTITIONED_METADATA_RESPONSE":
      case "LOOKUP_RESPONSE":
        return this.#requests.answer(command.requestId, command);
      default: // not for a producer
    }
  }

  /** At once, also while frames wait: a broker closes a connection whose credentials ran out. */
  async #answerChallenge(): Promise<void> {
    const { auth, clientVersion } = this.#options;
    try {
      const before = this.#authData;
      let authData = await auth.authData();
      // It is the broker who judges that these have ended, by its own clock: a cache has to let go of them.
      if (before !== undefined && authData !== undefined && equal(before, authData)) {
        auth.refused?.();
        authData = await auth.authData();
      }
      this.#authData = authData;
      const response = { authMethodName: auth.method, authData };
      this.send("AUTH_RESPONSE", { clientVersion, response, protocolVersion: PROTOCOL_VERSION });
    } catch (error) {
      this.close(
        new ConnectorError(
          `lost the broker ${this.name}: it asked for fresh credentials, and there are none: ${
            messageOf(error)
          }`,
          { code: "PULSAR_NOT_AUTHORIZED", retryable: true, cause: error },
        ),
      );
    }
  }
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
