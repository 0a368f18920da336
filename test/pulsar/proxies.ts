// What stands between a client and a real broker in tests: a plain forwarder that can fall silent, and a proxy that
// works as Pulsar's own: it answers lookups so that the broker stays hidden, and pipes what names that broker.

import type { TestContext } from "node:test";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { decodeCommand, encodeCommand } from "../../src/pulsar/wire/frames.ts";
import { FrameSplitter } from "../../src/pulsar/wire/splitter.ts";
import type { CertificateFiles } from "../servers/certificates.ts";

/** See {@link forwarder}. */
export interface Forwarder {
  readonly port: number;
  readonly connections: number;
  /** Present connections stay open, and nothing goes through them any more: a router that forgot them. */
  silence(): void;
}

/** Forwards a port of 127.0.0.1 to another. */
export async function forwarder(t: TestContext, to: () => number): Promise<Forwarder> {
  const pairs: [Socket, Socket][] = [];
  const server = createServer((client) => {
    const broker = connect(to(), "127.0.0.1");
    pairs.push([client, broker]);
    tie(client, broker);
    client.pipe(broker);
    broker.pipe(client);
  });
  const port = await listen(t, server, () => pairs.flat());
  return {
    port,
    get connections() {
      return pairs.length;
    },
    silence() {
      for (const [client, broker] of pairs) {
        client.unpipe(broker);
        broker.unpipe(client);
        client.resume();
        broker.resume();
      }
    },
  };
}

/** See {@link pulsarProxy}. */
export interface PulsarProxy {
  /** With TLS at `localhost`. */
  readonly url: string;
  /** proxy_to_broker_url of each connection. */
  readonly proxied: readonly (string | undefined)[];
}

/** A proxy in front of a broker at `port`, which it calls `hidden.invalid:6650`. */
export async function pulsarProxy(
  t: TestContext,
  port: number,
  tls?: CertificateFiles,
): Promise<PulsarProxy> {
  const proxied: (string | undefined)[] = [];
  const sockets: Socket[] = [];
  const accept = (client: Socket): void => {
    const broker = connect(port, "127.0.0.1");
    sockets.push(client, broker);
    tie(client, broker);
    let isProxied = false;
    const fromClient = new FrameSplitter((frame) => {
      const command = decodeCommand(frame);
      if (command?.name === "CONNECT") {
        proxied.push(command.proxyToBrokerUrl);
        isProxied = command.proxyToBrokerUrl !== undefined;
      }
      broker.write(Buffer.from(frame));
    });
    const fromBroker = new FrameSplitter((frame) => {
      const command = decodeCommand(frame);
      const { requestId } = (command ?? {}) as { requestId?: number };
      if (isProxied || command?.name !== "LOOKUP_RESPONSE" || command.response !== 1) {
        client.write(Buffer.from(frame));
        return;
      }
      // Pulsar's proxy gives one address in both fields, plain or not as its own way to the broker is.
      client.write(encodeCommand("LOOKUP_RESPONSE", {
        requestId: requestId!,
        response: 1,
        brokerServiceUrl: "pulsar://hidden.invalid:6650",
        brokerServiceUrlTls: "pulsar://hidden.invalid:6650",
        authoritative: true,
        proxyThroughServiceUrl: true,
      }));
    });
    client.on("data", (chunk) => fromClient.push(chunk as Uint8Array));
    broker.on("data", (chunk) => fromBroker.push(chunk as Uint8Array));
  };
  const server = tls === undefined
    ? createServer(accept)
    : createTlsServer({ cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) }, accept);
  const at = await listen(t, server, () => sockets);
  return { url: tls === undefined ? `pulsar://127.0.0.1:${at}` : `pulsar+ssl://localhost:${at}`, proxied };
}

/** One ends with the other. */
function tie(one: Socket, other: Socket): void {
  for (const [socket, peer] of [[one, other], [other, one]] as const) {
    socket.on("error", () => {});
    socket.on("close", () => peer.destroy());
  }
}

async function listen(t: TestContext, server: Server, sockets: () => readonly Socket[]): Promise<number> {
  t.after(() => {
    for (const socket of sockets()) socket.destroy();
    server.close();
  });
  return await new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
}
