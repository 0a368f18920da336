// DynamoDB for tests: dynalite inside this process, on a free loopback port, tables in memory only.
// (emulators.md: exact conditional writes; no transactions, no index added later, no old item on a failed condition.)

import { createRequire } from "node:module";
import type { Server } from "node:http";
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
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, clientConfig: dynaliteClientConfig(url), close: () => close(server) };
}

/** Client configuration for a dynalite (or DynamoDBLocal) at `url`; the keys are accepted by both. */
export function dynaliteClientConfig(url: string): DynamoDBClientConfig {
  return {
    endpoint: url,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  };
}

function close(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => error === undefined || error === null ? resolve() : reject(error));
    server.closeAllConnections();
  });
}
