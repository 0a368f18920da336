// kinesis-local (another's Kinesis emulator) as a child process: an independent second opinion on what our own
// server claims. HTTP/1.1 only: over HTTP/2 its large answers break.

import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { startServer } from "./child.ts";

const CHANGE = "20ms"; // how long a stream or consumer stays CREATING, UPDATING or DELETING

/** A running server. */
export interface KinesisLocal {
  /** Endpoint for clients (see kinesisClientConfig in kinesis.ts). */
  readonly url: string;
  /** Ends it; leaves one given by KINESIS_LOCAL_URL alone. */
  stop(): Promise<void>;
}

/** Starts it on a free loopback port (needs about a second), or uses the one in `KINESIS_LOCAL_URL`. */
export async function startKinesisLocal(): Promise<KinesisLocal> {
  const given = process.env.KINESIS_LOCAL_URL;
  if (given) return { url: given, stop: () => Promise.resolve() };
  const server = await startServer({
    name: "kinesis-local",
    command: "node",
    args: [fileURLToPath(new URL("kinesis-local-main.cjs", import.meta.url))],
    timeoutMs: 60_000,
    env: {
      // without it the file is looked for in the working directory
      KINESIS_MOCK_CERT_PATH: createRequire(import.meta.url).resolve("kinesis-local/server.json"),
      KINESIS_MOCK_PLAIN_PORT: "4568",
      SHARD_LIMIT: "10000",
      CREATE_STREAM_DURATION: CHANGE,
      DELETE_STREAM_DURATION: CHANGE,
      SPLIT_SHARD_DURATION: CHANGE,
      MERGE_SHARDS_DURATION: CHANGE,
      UPDATE_SHARD_COUNT_DURATION: CHANGE,
      START_STREAM_ENCRYPTION_DURATION: CHANGE,
      STOP_STREAM_ENCRYPTION_DURATION: CHANGE,
      REGISTER_STREAM_CONSUMER_DURATION: CHANGE,
      DEREGISTER_STREAM_CONSUMER_DURATION: CHANGE,
      LOG_LEVEL: "ERROR",
    },
  });
  return { url: String(server.ready.url), stop: () => server.stop() };
}
