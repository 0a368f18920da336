// The HTTP/1.1 transport: bytes from a socket to a ServiceRequest, a ServiceReply back. It knows nothing of
// Kinesis, so that an HTTP/2 one can stand beside it. Invariant: listens on loopback addresses only.

import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ConnectorError } from "../../core/errors.ts";
import type { ServiceReply, ServiceRequest } from "./service.ts";

/** A 10 MiB request in base64, with room for its keys. */
const MAX_BODY_BYTES = 20 * 1024 * 1024;
/** Idle connections stay open as long as AWS's: node's five seconds surprise clients that poll slowly. */
const KEEP_ALIVE_MS = 65_000;

/** A listening transport. */
export interface Listener {
  readonly port: number;
  /** Closes all connections, also those that wait for an answer. */
  close(): Promise<void>;
}

/** @throws ConnectorError CONFIG_INVALID for an address that is not loopback or a port that is taken */
export async function listenHttp1(
  handle: (request: ServiceRequest) => Promise<ServiceReply>,
  address: { readonly host: string; readonly port: number },
): Promise<Listener> {
  requireLoopback(address.host);
  const closing = new AbortController();
  const server = createServer((request, response) => {
    // Whatever breaks a connection is the client's to see.
    serve(request, response, handle, closing.signal).catch(() => response.destroy());
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      reject(
        new ConnectorError(
          `the local Kinesis server cannot listen on ${address.host}:${address.port}: ${cause.message}. Give ` +
            "another port, or 0 for a free one.",
          { code: "CONFIG_INVALID", cause },
        ),
      );
    });
    server.listen(address.port, address.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        closing.abort();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  handle: (request: ServiceRequest) => Promise<ServiceReply>,
  signal: AbortSignal,
): Promise<void> {
  const body = await readBody(request);
  if (!body) {
    response.writeHead(413, { connection: "close" }).end();
    return;
  }
  const reply = await handle({
    method: request.method ?? "",
    path: request.url ?? "/",
    headers: flat(request.headers),
    body,
    signal,
  });
  if (reply.kind === "hang" || signal.aborted) return;
  if (reply.kind === "drop") {
    request.socket.destroy();
    return;
  }
  response.writeHead(reply.status, reply.headers);
  for (const chunk of reply.chunks) response.write(chunk);
  response.end();
}

// Undefined when it is too long; the rest is read and thrown away, so that the client gets its answer.
async function readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  return length <= MAX_BODY_BYTES ? Buffer.concat(chunks) : undefined;
}

function flat(headers: IncomingMessage["headers"]): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) result[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return result;
}

function requireLoopback(host: string): void {
  if (host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host)) return;
  throw new ConnectorError(
    `the local Kinesis server listens on loopback addresses only, not on "${host}": it lets everybody in. Use ` +
      "127.0.0.1 (the default), ::1 or localhost.",
    { code: "CONFIG_INVALID", where: { key: "host" } },
  );
}
