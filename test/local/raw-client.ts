// A client of the binary protocol for tests of brokers: sends what it is told, and gives what comes, one by one.

import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import type { Command, CommandFields, CommandName, CommandOf } from "../../src/pulsar/wire/commands.ts";
import { decodeCommand, encodeCommand, encodePayloadCommand } from "../../src/pulsar/wire/frames.ts";
import { MessageMetadata, SingleMessageMetadata } from "../../src/pulsar/wire/metadata.ts";
import { encodeShape } from "../../src/pulsar/wire/shape.ts";
import { FrameSplitter } from "../../src/pulsar/wire/splitter.ts";

/** See the top of this file. */
export class RawClient {
  readonly socket: Socket;
  /** The last bytes that came, for those that are no frames. */
  received: Buffer = Buffer.alloc(0);
  readonly #commands: Command[] = [];
  readonly #waiting: ((command: Command | undefined) => void)[] = [];
  #closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    const splitter = new FrameSplitter((frame) => {
      const command = decodeCommand(frame);
      if (!command) return;
      const waiting = this.#waiting.shift();
      if (waiting) waiting(command);
      else this.#commands.push(command);
    });
    socket.on("data", (chunk) => {
      this.received = Buffer.concat([this.received, chunk]).subarray(-10_000);
      try {
        splitter.push(chunk);
      } catch {
        socket.destroy();
      }
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      for (const waiting of this.#waiting.splice(0)) waiting(undefined);
    });
  }

  /** Sends a frame. */
  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  send<N extends CommandName>(name: N, fields: CommandFields<N>): void {
    this.write(encodeCommand(name, fields));
  }

  /** The next command that comes; `undefined` when the connection is closed. */
  next(): Promise<Command | undefined> {
    const command = this.#commands.shift();
    if (command || this.#closed) return Promise.resolve(command);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The next command, which must be this one. */
  async expect<N extends CommandName>(name: N): Promise<CommandOf<N>> {
    const command = await this.next();
    if (command?.name === name) return command as CommandOf<N>;
    throw new Error(
      `expected ${name}, got ${command ? JSON.stringify(command) : "the end of the connection"}`,
    );
  }

  /** Makes producer `producerId` of a topic. */
  async producer(topic: string, producerId = 1, name?: string): Promise<CommandOf<"PRODUCER_SUCCESS">> {
    this.send("PRODUCER", { topic, producerId, requestId: 100 + producerId, producerName: name });
    return await this.expect("PRODUCER_SUCCESS");
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Connects and shakes hands. */
export async function rawClient(url: string): Promise<RawClient> {
  const client = rawConnection(url);
  client.send("CONNECT", { clientVersion: "raw", protocolVersion: 20 });
  await client.expect("CONNECTED");
  return client;
}

/** Connects without shaking hands. */
export function rawConnection(url: string): RawClient {
  return new RawClient(connect({ host: "127.0.0.1", port: Number(new URL(url).port) }));
}

/** A SEND frame with these messages: one alone, several as a batch. */
export function sendFrame(sequenceId: number, data: readonly string[], producerId = 1): Buffer {
  const highestSequenceId = sequenceId + data.length - 1;
  const batch = data.length > 1;
  const payloads = data.map((text, index) => {
    const body = Buffer.from(text);
    if (!batch) return body;
    const single = encodeShape(SingleMessageMetadata, {
      payloadSize: body.length,
      partitionKey: `k${sequenceId + index}`,
      sequenceId: sequenceId + index,
    });
    const size = Buffer.alloc(4);
    size.writeUInt32BE(single.length);
    return Buffer.concat([size, single, body]);
  });
  const payload = Buffer.concat(payloads);
  const metadata = encodeShape(MessageMetadata, {
    producerName: "raw",
    sequenceId,
    publishTime: 1_700_000_000_000 + sequenceId,
    ...(batch ? { numMessagesInBatch: data.length, uncompressedSize: payload.length } : {}),
    ...(batch ? { highestSequenceId } : { partitionKey: `k${sequenceId}` }),
  });
  const fields = { producerId, sequenceId, numMessages: data.length, highestSequenceId };
  return encodePayloadCommand("SEND", fields, metadata, payload);
}
