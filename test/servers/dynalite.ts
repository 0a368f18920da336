// DynamoDB for tests: dynalite inside this process, on a free loopback port, tables in memory only.
// (emulators.md: exact conditional writes; no transactions, no index added later, no old item on a failed condition.)

import { createRequire } from "node:module";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";

interface DynaliteOptions {
  readonly createTableMs: number;
  readonly deleteTableMs: number;
}

const dynalite = createRequire(import.meta.url)("dynalite") as (options: DynaliteOptions) => Server;

/** A running server. */
export interface Dynalite {
  readonly url: string;
  /** What a DynamoDB client needs to reach it. */
  readonly clientConfig: DynamoDBClientConfig;
  close(): Promise<void>;
}

/** Starts a server with no tables; tables become ACTIVE after `createTableMs` (default 0). */
export async function startDynalite(options: { readonly createTableMs?: number } = {}): Promise<Dynalite> {
  const server = dynalite({ createTableMs: options.createTableMs ?? 0, deleteTableMs: 0 });
  // As long as DynamoDB's: after Node's five seconds a client that is slow finds its connection closed as it writes.
  server.keepAliveTimeout = 65_000;
  const endRequests = gate(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    clientConfig: dynaliteClientConfig(url),
    close: () => endRequests().then(() => close(server)),
  };
}

/** Client configuration for a dynalite (or DynamoDBLocal) at `url`; the keys are accepted by both. */
export function dynaliteClientConfig(url: string): DynamoDBClientConfig {
  return {
    endpoint: url,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  };
}

/**
 * Dynalite throws, outside of every call, when its database is closed while a request is being answered; tests close it
 * while workers still write. The function that this returns refuses new requests and waits for those that are there.
 */
function gate(server: Server): () => Promise<void> {
  const [serve] = server.listeners("request") as [
    (request: IncomingMessage, response: ServerResponse) => void,
  ];
  server.removeAllListeners("request");
  let answering = 0;
  let isClosing = false;
  let whenIdle = () => {};
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    if (isClosing) return void request.socket.destroy();
    answering++;
    response.once("close", () => --answering === 0 && whenIdle());
    serve.call(server, request, response);
  });
  return () => {
    isClosing = true;
    return new Promise((resolve) => answering === 0 ? resolve() : whenIdle = resolve);
  };
}

function close(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => error === undefined || error === null ? resolve() : reject(error));
    server.closeAllConnections();
  });
}
