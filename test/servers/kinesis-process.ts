// Our Kinesis server in a process of its own, with a stream that is filled before it serves: the source of
// benchmarks, so that serving is not counted as reading.

import { fileURLToPath } from "node:url";
import type { LocalKinesisOptions } from "../../src/local/mod.ts";
import { startServer } from "./child.ts";

/** The stream to serve, and the server's options (without clock). */
export interface KinesisProcessOptions extends Omit<LocalKinesisOptions, "clock"> {
  readonly streamName: string;
  readonly shards: number;
  /** Random records in each shard. @default 0 */
  readonly recordsPerShard?: number;
  /** Bytes of each record's data. @default 1024 */
  readonly recordBytes?: number;
}

/** A running server process. */
export interface KinesisProcess {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts it (on Node); filling takes about 5 µs per record of 1 KiB. */
export async function startKinesisProcess(options: KinesisProcessOptions): Promise<KinesisProcess> {
  const server = await startServer({
    name: "local Kinesis server",
    command: "node",
    args: [
      "--import",
      import.meta.resolve("tsx"),
      fileURLToPath(new URL("kinesis-process-main.ts", import.meta.url)),
      JSON.stringify(options),
    ],
  });
  return { url: String(server.ready.url), pid: server.pid, stop: () => server.stop() };
}
