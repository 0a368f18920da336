// A client's connection to a broker, as small as a reader needs it: handshake, requests and answers, PONG.
// Invariant: once it is closed, every request that waits for an answer is rejected with the reason.

import type { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { ConnectorError, messageOf } from "../core/errors.ts";
import type { Command, CommandFields, CommandName, CommandOf } from "../pulsar/wire/commands.ts";
import {
  decodeCommand,
  DEFAULT_MAX_MESSAGE_SIZE,
  encodeCommand,
  FRAME_PADDING,
} from "../pulsar/wire/frames.ts";
import { serverErrorName } from "../pulsar/wire/server-error.ts";
import { FrameSplitter } from "../pulsar/wire/splitter.ts";

/** How long a broker may take to connect or to answer, milliseconds. */
const ANSWER_TIMEOUT_MS = 10_000;

interface Waiting {
  resolve(answer: Command): void;
  reject(error: ConnectorError): void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** What a connection tells its owner. */
export interface WireClientEvents {
  /** A command that answers no request, with its whole frame (a view, valid during the call). */
  command(command: Command, frame: Buffer): void;
  /** Once, unless the owner closed it. */
  lost(error: ConnectorError): void;
}

/** Requests that have an id and are answered by it. */
export type RequestName = "LOOKUP" | "PARTITIONED_METADATA" | "SUBSCRIBE" | "CLOSE_CONSUMER";

/** See the top of this file. */
export class WireClient {
  readonly #address: string;
  readonly #socket: Socket;
  readonly #events: WireClientEvents;
  readonly #waiting = new Map<number, Waiting>();
  #nextRequestId = 1;
  #closed = false;

  constructor(socket: Socket, address: string, events: WireClientEvents) {
    this.#socket = socket;
    this.#address = address;
    this.#events = events;
    const splitter = new FrameSplitter((frame) => this.#receive(frame));
    splitter.maxFrameSize = DEFAULT_MAX_MESSAGE_SIZE + FRAME_PADDING;
    const lose = (why: string, cause?: unknown) => this.#lose(this.#error(why, cause));
    socket.setNoDelay(true);
    socket.on("error", (cause) => lose(cause.message, cause));
    socket.on("close", () => lose("the broker closed the connection"));
    socket.on("data", (chunk) => {
      try {
        splitter.push(chunk);
      } catch (cause) {
        lose(messageOf(cause), cause);
      }
    });
  }

  /** Sends a command that has no answer. */
  send<N extends CommandName>(name: N, fields: CommandFields<N>): void {
    if (!this.#closed) this.#socket.write(encodeCommand(name, fields));
  }

  /** Sends a request and gives its answer. Rejects with what the broker says, with time-out, with loss. */
  request<N extends RequestName>(
    name: N,
    fields: Omit<CommandFields<N>, "requestId">,
  ): Promise<Command> {
    const requestId = this.#nextRequestId++;
    return this.#answered(requestId, name, () => {
      this.send(name, { ...fields, requestId } as unknown as CommandFields<N>);
    });
  }

  /** The first exchange. The id 0 stands for CONNECT, whose answer carries none. */
  async handshake(): Promise<CommandOf<"CONNECTED">> {
    const answer = await this.#answered(0, "CONNECT", () => {
      this.send("CONNECT", {
        clientVersion: "kinesis-pulsar reader",
        protocolVersion: 20,
        authMethodName: "none",
      });
    });
    return answer as CommandOf<"CONNECTED">;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.#rejectAll(this.#error("the connection was closed"));
  }

  #answered(requestId: number, name: string, send: () => void): Promise<Command> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#error("the connection is closed"));
      const timer = setTimeout(() => {
        this.#waiting.delete(requestId);
        reject(this.#error(`no answer to ${name} within ${ANSWER_TIMEOUT_MS / 1000} s`));
      }, ANSWER_TIMEOUT_MS);
      this.#waiting.set(requestId, { resolve, reject, timer });
      send();
    });
  }

  #receive(frame: Buffer): void {
    if (this.#closed) return;
    const command = decodeCommand(frame);
    if (!command) return;
    if (command.name === "PING") return this.send("PONG", {});
    if (command.name === "CONNECTED") return this.#take(0)?.resolve(command);
    if (command.name === "ERROR") {
      const refused = this.#error(`${serverErrorName(command.error)}: ${command.message}`);
      return (this.#take(command.requestId) ?? this.#take(0))?.reject(refused);
    }
    const waiting = "requestId" in command && command.requestId !== undefined
      ? this.#take(command.requestId)
      : undefined;
    if (waiting) waiting.resolve(command);
    else this.#events.command(command, frame);
  }

  #take(requestId: number): Waiting | undefined {
    const waiting = this.#waiting.get(requestId);
    if (waiting) clearTimeout(waiting.timer);
    this.#waiting.delete(requestId);
    return waiting;
  }

  #lose(error: ConnectorError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.#rejectAll(error);
    this.#events.lost(error);
  }

  #rejectAll(error: ConnectorError): void {
    for (const requestId of [...this.#waiting.keys()]) this.#take(requestId)?.reject(error);
  }

  #error(why: string, cause?: unknown): ConnectorError {
    return new ConnectorError(`Pulsar broker ${this.#address}: ${why}`, {
      code: "PULSAR_UNREACHABLE",
      retryable: true,
      cause,
    });
  }
}

/**
 * Connects to a broker and shakes hands.
 * @param serviceUrl `pulsar://host[:6650]`
 * @throws ConnectorError PULSAR_UNREACHABLE, NOT_YET for TLS
 */
export async function connectWireClient(serviceUrl: string, events: WireClientEvents): Promise<WireClient> {
  const { host, port } = addressOf(serviceUrl);
  const socket = connect({ host, port });
  const client = new WireClient(socket, `${host}:${port}`, events);
  await client.handshake();
  return client;
}

/** The broker URLs of a service URL with one or several hosts. */
export function hostsOf(serviceUrl: string): string[] {
  const [, scheme, hosts = ""] = /^([^:]+:\/\/)?([^/]*)/.exec(serviceUrl) ?? [];
  return hosts.split(",").map((host) => `${scheme ?? "pulsar://"}${host}`);
}

function addressOf(serviceUrl: string): { host: string; port: number } {
  const parts = /^pulsar:\/\/(\[[^\]]+\]|[^:/,]+)(?::(\d+))?\/?$/.exec(serviceUrl);
  if (!parts) {
    throw new ConnectorError(
      `the reader cannot use the service URL ${serviceUrl}: it takes pulsar://host:port, without TLS`,
      { code: serviceUrl.startsWith("pulsar+ssl") ? "NOT_YET" : "CONFIG_INVALID" },
    );
  }
  return { host: parts[1]!.replace(/^\[|\]$/g, ""), port: Number(parts[2] ?? 6650) };
}
