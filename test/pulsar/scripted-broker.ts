// A broker that does what a test tells it, command by command; by default everything goes well. It is reached in
// memory (no socket, no real time) or, for what concerns sockets, on a port of its own.

import type { TestContext } from "node:test";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { setImmediate } from "node:timers";
import type { TransportEvents, TransportFactory } from "../../src/pulsar/transport.ts";
import { addressText } from "../../src/pulsar/service-url.ts";
import type { Command, CommandFields, CommandName, CommandOf } from "../../src/pulsar/wire/commands.ts";
import { decodeCommand, decodePayload, encodeCommand } from "../../src/pulsar/wire/frames.ts";
import { decodeMetadata, type ReadMessage, readMessages } from "../../src/pulsar/wire/metadata.ts";
import { FrameSplitter } from "../../src/pulsar/wire/splitter.ts";
import type { CertificateFiles } from "../servers/certificates.ts";

/** A client's connection, from the broker's side. */
export interface BrokerConnection {
  readonly index: number;
  reply<N extends CommandName>(name: N, fields: CommandFields<N>): void;
  raw(bytes: Uint8Array): void;
  /** Cuts it. */
  cut(): void;
  /** Reads from it, or not (only on a port). */
  reading(isOn: boolean): void;
}

/** What the broker does about a command; `usual` is what it does without script. */
export type Script = {
  [N in CommandName]?: (command: CommandOf<N>, connection: BrokerConnection, usual: () => void) => void;
};

/** A SEND as it came. */
export interface ReceivedSend {
  readonly connection: number;
  readonly frame: Buffer;
  readonly command: CommandOf<"SEND">;
  readonly messages: readonly ReadMessage[];
}

/** See the file's header. */
export class ScriptedBroker {
  readonly script: Script = {};
  readonly connections: BrokerConnection[] = [];
  readonly commands: { readonly connection: number; readonly command: Command }[] = [];
  readonly sends: ReceivedSend[] = [];
  /** What encrypted clients gave as the server's name (SNI). */
  readonly serverNames: (string | undefined)[] = [];
  readonly url: string;
  maxMessageSize = 5 * 1024 * 1024;
  /** Refuses connections, as a port where nobody listens. */
  down = false;
  /** While true, what clients write stays in their process: nothing is flushed. */
  holdWrites = false;
  #held: (() => void)[] = [];
  #names = 0;

  constructor(url = "pulsar://one:6650") {
    this.url = url;
  }

  /** Takes what was held back. */
  releaseWrites(): void {
    this.holdWrites = false;
    for (const flush of this.#held.splice(0)) flush();
  }

  /** Commands of one kind that came. */
  got<N extends CommandName>(name: N): CommandOf<N>[] {
    return this.commands.map(({ command }) => command).filter((command): command is CommandOf<N> =>
      command.name === name
    );
  }

  /** The texts of all messages that came, resent ones again. */
  get texts(): string[] {
    return this.sends.flatMap(({ messages }) => messages.map(({ data }) => data.toString()));
  }

  /** A client connects: `write` takes what the broker says. */
  accept(
    write: (bytes: Uint8Array) => void,
    cut: () => void,
    reading: (isOn: boolean) => void = () => {},
  ): { receive(bytes: Uint8Array): void } {
    const connection: BrokerConnection = {
      index: this.connections.length,
      reply: (name, fields) => write(encodeCommand(name, fields)),
      raw: write,
      cut,
      reading,
    };
    this.connections.push(connection);
    const splitter = new FrameSplitter((frame) => this.#onFrame(Buffer.from(frame), connection));
    return { receive: (bytes) => splitter.push(bytes) };
  }

  /** In memory. */
  connect(events: TransportEvents): Awaited<ReturnType<TransportFactory>> {
    let isOpen = true;
    const cut = (): void => {
      if (!isOpen) return;
      isOpen = false;
      setImmediate(() => events.closed(new Error("the peer closed the connection")));
    };
    const { receive } = this.accept((bytes) => {
      setImmediate(() => isOpen && events.data(bytes));
    }, cut);
    return {
      write: (frames, flushed) => {
        const bytes = Buffer.concat(frames);
        const flush = (): void => {
          setImmediate(() => {
            if (!isOpen) return;
            receive(bytes);
            if (isOpen) flushed();
          });
        };
        if (this.holdWrites) this.#held.push(flush);
        else flush();
      },
      destroy: () => {
        isOpen = false;
      },
    };
  }

  #onFrame(frame: Buffer, connection: BrokerConnection): void {
    const command = decodeCommand(frame)!;
    this.commands.push({ connection: connection.index, command });
    if (command.name === "SEND") {
      const { metadata, payload } = decodePayload(frame)!;
      const messages = readMessages(decodeMetadata(metadata), payload);
      this.sends.push({ connection: connection.index, frame, command, messages });
    }
    const usual = (): void => this.#usual(command, connection);
    const scripted = this.script[command.name] as
      | ((command: Command, connection: BrokerConnection, usual: () => void) => void)
      | undefined;
    if (scripted === undefined) usual();
    else scripted(command, connection, usual);
  }

  #usual(command: Command, { reply }: BrokerConnection): void {
    switch (command.name) {
      case "CONNECT":
        return reply("CONNECTED", {
          serverVersion: "scripted",
          protocolVersion: 20,
          maxMessageSize: this.maxMessageSize,
        });
      case "PING":
        return reply("PONG", {});
      case "PARTITIONED_METADATA":
        return reply("PARTITIONED_METADATA_RESPONSE", {
          requestId: command.requestId,
          partitions: 0,
          response: 0,
        });
      case "LOOKUP":
        return reply("LOOKUP_RESPONSE", {
          requestId: command.requestId,
          response: 1,
          ...this.url.startsWith("pulsar+ssl:")
            ? { brokerServiceUrlTls: this.url }
            : { brokerServiceUrl: this.url },
        });
      case "PRODUCER": {
        const producerName = command.producerName ?? `scripted-${this.#names++}`;
        return reply("PRODUCER_SUCCESS", { requestId: command.requestId, producerName });
      }
      case "CLOSE_PRODUCER":
        return reply("SUCCESS", { requestId: command.requestId });
      case "SEND": {
        const { producerId, sequenceId, highestSequenceId } = command;
        const messageId = { ledgerId: 1, entryId: sequenceId };
        return reply("SEND_RECEIPT", { producerId, sequenceId, highestSequenceId, messageId });
      }
    }
  }
}

/** Brokers by their address, in memory. */
export function network(...brokers: readonly ScriptedBroker[]): TransportFactory {
  return (address, events) => {
    const broker = brokers.find(({ url }) => url === `pulsar://${addressText(address)}`);
    if (broker === undefined || broker.down) {
      return Promise.reject(new Error(`connect ECONNREFUSED ${addressText(address)}`));
    }
    return Promise.resolve(broker.connect(events));
  };
}

/** How a broker on a port is encrypted. */
export interface ListeningTls extends CertificateFiles {
  /** Clients must show a certificate of this authority. @default they need none */
  readonly clientCaFile?: string;
}

/** A broker on a port of 127.0.0.1, at `localhost` when it is encrypted. */
export async function listeningBroker(t: TestContext, tls?: ListeningTls): Promise<ScriptedBroker> {
  let broker: ScriptedBroker | undefined;
  const sockets = new Set<{ destroy(): void }>();
  const accept = (socket: Socket): void => {
    sockets.add(socket);
    const { receive } = broker!.accept((bytes) => socket.write(bytes), () => socket.destroy(), (isOn) => {
      if (isOn) socket.resume();
      else socket.pause();
    });
    socket.on("data", (chunk) => receive(chunk as Uint8Array));
    socket.on("error", () => {}); // clients of tests break off on purpose
    socket.on("close", () => sockets.delete(socket));
  };
  const server = tls === undefined ? createServer(accept) : createTlsServer(tlsOptions(tls), (socket) => {
    broker!.serverNames.push(socket.servername || undefined);
    accept(socket);
  });
  server.on("tlsClientError", () => {});
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const port = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
  return broker = new ScriptedBroker(
    tls === undefined ? `pulsar://127.0.0.1:${port}` : `pulsar+ssl://localhost:${port}`,
  );
}

function tlsOptions({ certFile, keyFile, clientCaFile }: ListeningTls): TlsOptions {
  const client = clientCaFile === undefined
    ? {}
    : { ca: readFileSync(clientCaFile), requestCert: true, rejectUnauthorized: true };
  return { cert: readFileSync(certFile), key: readFileSync(keyFile), ...client };
}
