// A TCP proxy between the program and a broker that keeps every SEND, answers late, or stops reading on demand.
// Lookups are answered with the proxy's own address, so that nothing goes past it. Invariant: bytes of either
// direction stay in order and unchanged, except for those lookup answers.

import { Buffer } from "node:buffer";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { commandType, decodeCommand, decodePayload, encodeCommand } from "../../src/pulsar/wire/frames.ts";
import { readReceipt, SEND_RECEIPT_TYPE } from "../../src/pulsar/wire/receipt.ts";
import { decodeMetadata, readMessages } from "../../src/pulsar/wire/metadata.ts";
import { FrameSplitter } from "../../src/pulsar/wire/splitter.ts";
import type { Scope } from "../e2e/kit.ts";

/** One message on its way to the broker. */
export interface SentMessage {
  /** When the first byte of its frame had come, `performance.now()`. */
  readonly at: number;
  /** Property `kinesis.sequence.number`. */
  readonly sequenceNumber: string;
}

/** Options of {@link startPulsarProxy}. */
export interface PulsarProxyOptions {
  /** `pulsar://host:port` of the broker. */
  readonly serviceUrl: string;
  /** Keeps the messages in `sent`. @default false */
  readonly record?: boolean;
  /** How late what the broker says arrives, milliseconds. @default 0 */
  readonly answerDelayMs?: number;
}

/** A running proxy. */
export interface PulsarProxy {
  readonly serviceUrl: string;
  /** With `record`: in order of arrival. */
  readonly sent: readonly SentMessage[];
  /** Bytes that came from the program. */
  readonly bytes: number;
  /** With `answerDelayMs`: receipts on open connections that the broker has given and the program has not got yet. */
  readonly heldReceipts: number;
  /** Receipts that said "I had this already": replays that deduplication caught. */
  readonly duplicateReceipts: number;
  /** Connections that are open now say nothing more to the program: what a broker said right before its death is lost. */
  silence(): void;
  /** Stops reading from the program until {@link PulsarProxy.resume}, as a broker that stands still. */
  pause(): void;
  /** @param bytesPerSecond how fast it reads from then on, over all connections. @default as fast as it can */
  resume(bytesPerSecond?: number): void;
  /** Whether a frame has come only in part: the program still has the rest. */
  readonly isInsideFrame: boolean;
}

const SEQUENCE_NUMBER = "kinesis.sequence.number";

/** Starts one; it ends with the scope. */
export async function startPulsarProxy(scope: Scope, options: PulsarProxyOptions): Promise<PulsarProxy> {
  const target = new URL(options.serviceUrl);
  const sockets = new Set<Socket>();
  const links = new Set<Link>();
  const sent: SentMessage[] = [];
  let bytes = 0;
  let duplicateReceipts = 0;
  let paused = false;
  const pace = new Pace();
  let ownUrl = "";
  const server = createServer((client) => {
    const broker = connect(Number(target.port), target.hostname);
    const link = new Link(client, broker, {
      ownUrl,
      answerDelayMs: options.answerDelayMs ?? 0,
      onDuplicate: () => duplicateReceipts++,
      onChunk: (count) => {
        bytes += count;
        pace.passed(count, client);
      },
      ...options.record ? { onSent: (message: SentMessage) => sent.push(message) } : {},
    });
    links.add(link);
    for (const socket of [client, broker]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.once("close", () => {
        sockets.delete(socket);
        links.delete(link);
        client.destroy();
        broker.destroy();
      });
    }
    if (paused) client.pause();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ownUrl = `pulsar://127.0.0.1:${(server.address() as AddressInfo).port}`;
  scope.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const forEachClient = (what: "pause" | "resume") => {
    paused = what === "pause";
    for (const link of links) link.client[what]();
  };
  return {
    serviceUrl: ownUrl,
    sent,
    get bytes() {
      return bytes;
    },
    pause: () => forEachClient("pause"),
    resume(bytesPerSecond = Infinity) {
      pace.bytesPerSecond = bytesPerSecond;
      forEachClient("resume");
    },
    get heldReceipts() {
      return [...links].reduce((sum, link) => sum + link.heldReceipts, 0);
    },
    get duplicateReceipts() {
      return duplicateReceipts;
    },
    get isInsideFrame() {
      return [...links].some((link) => link.isInsideFrame);
    },
    silence() {
      for (const link of links) link.isSilent = true;
    },
  };
}

/** Lets so many bytes pass in a second. */
class Pace {
  bytesPerSecond = Infinity;
  #freeAt = 0;

  /** So many came from the client: it is not read before they may have passed. */
  passed(count: number, client: Socket): void {
    if (this.bytesPerSecond === Infinity) return;
    const now = performance.now();
    this.#freeAt = Math.max(now, this.#freeAt) + (count * 1000) / this.bytesPerSecond;
    client.pause();
    setTimeout(() => client.resume(), this.#freeAt - now);
  }
}

interface LinkOptions {
  readonly ownUrl: string;
  readonly answerDelayMs: number;
  readonly onChunk: (bytes: number) => void;
  readonly onDuplicate: () => void;
  readonly onSent?: (message: SentMessage) => void;
}

/** One connection of the program. */
class Link {
  readonly client: Socket;
  readonly #options: LinkOptions;
  heldReceipts = 0;
  isSilent = false;
  #answers: Promise<void> = Promise.resolve();
  /** When the first byte of the frame came that is being received. */
  #frameSince = 0;
  #received = 0;
  #framed = 0;

  constructor(client: Socket, broker: Socket, options: LinkOptions) {
    this.client = client;
    this.#options = options;
    const commands = new FrameSplitter((frame) => this.#onFrame(frame));
    client.on("data", (chunk) => {
      options.onChunk(chunk.length);
      if (!broker.write(chunk)) {
        client.pause();
        broker.once("drain", () => client.resume());
      }
      if (options.onSent) this.#note(commands, chunk);
    });
    const answers = new FrameSplitter((frame) => {
      const bytes = this.#answer(frame);
      const isReceipt = commandType(frame) === SEND_RECEIPT_TYPE;
      if (isReceipt && isDuplicate(frame)) options.onDuplicate();
      if (options.answerDelayMs === 0) return void client.write(bytes);
      const held = isReceipt ? 1 : 0;
      this.heldReceipts += held;
      const due = performance.now() + options.answerDelayMs;
      this.#answers = this.#answers.then(async () => {
        const wait = due - performance.now();
        if (wait > 0) await delay(wait);
        if (this.isSilent) return;
        this.heldReceipts -= held;
        client.write(bytes);
      });
    });
    broker.on("data", (chunk) => answers.push(chunk));
    client.on("end", () => broker.end());
    broker.on("end", () => client.end());
  }

  get isInsideFrame(): boolean {
    return this.#received !== this.#framed;
  }

  #note(commands: FrameSplitter, chunk: Buffer): void {
    if (!this.isInsideFrame) this.#frameSince = performance.now();
    this.#received += chunk.length;
    commands.push(chunk);
  }

  #onFrame(frame: Buffer): void {
    const at = this.#frameSince;
    this.#frameSince = performance.now(); // the next one began in the same chunk
    this.#framed += frame.length;
    const command = decodeCommand(frame);
    if (command?.name !== "SEND") return;
    const { metadata, payload } = decodePayload(frame)!;
    for (const { properties } of readMessages(decodeMetadata(metadata), payload)) {
      this.#options.onSent!({ at, sequenceNumber: properties[SEQUENCE_NUMBER] ?? "" });
    }
  }

  /** The broker's frame as the program gets it. */
  #answer(frame: Buffer): Buffer {
    const command = decodeCommand(frame);
    if (command?.name !== "LOOKUP_RESPONSE" || command.brokerServiceUrl === undefined) {
      return Buffer.from(frame);
    }
    const { name: _, ...fields } = command;
    return encodeCommand("LOOKUP_RESPONSE", { ...fields, brokerServiceUrl: this.#options.ownUrl });
  }
}

/** Brokers give the message id −1:−1 for what they had. */
function isDuplicate(frame: Buffer): boolean {
  const receipt = { producerId: 0, sequenceId: 0, ledgerId: 0 };
  readReceipt(frame, receipt);
  return receipt.ledgerId === -1;
}
