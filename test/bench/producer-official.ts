// Yardstick: the official Node client (npm package `pulsar-client`), out of the folder that PULSAR_CLIENT_DIR names.
// Prints one JSON line.

import type { Buffer } from "node:buffer";
import process from "node:process";
import { loadPulsarClient } from "../../src/pulsar/native/load.ts";
import { EVENT_TIME, LIMITS, measureProducing, producingParameters, propertiesOf } from "./producing.ts";

const parameters = producingParameters();
const COMPRESSION = { none: "None", lz4: "LZ4", zlib: "Zlib", zstd: "ZSTD", snappy: "SNAPPY" } as const;
const { Client } = loadPulsarClient({ packageFolder: process.env.PULSAR_CLIENT_DIR, folders: [] });
const client = new Client({ serviceUrl: parameters.serviceUrl, logLevel: 3 });
const producer = await client.createProducer({
  topic: parameters.topic,
  compressionType: COMPRESSION[parameters.compression],
  hashingScheme: "Murmur3_32Hash",
  batchingMaxMessages: LIMITS.messages,
  batchingMaxAllowedSizeInBytes: LIMITS.bytes,
  batchingMaxPublishDelayMs: LIMITS.delayMs,
  maxPendingMessages: LIMITS.pending,
});
let pending = 0;
let roomAgain: (() => void) | undefined;
const fail = (error: Error): void => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
};
await measureProducing(parameters, {
  send(data, key) {
    pending++;
    producer.send({
      data: data as Buffer,
      partitionKey: key,
      eventTimestamp: EVENT_TIME,
      properties: propertiesOf(key),
    }).then(() => {
      pending--;
      roomAgain?.();
    }, fail);
    if (pending < LIMITS.pending) return undefined;
    return new Promise<void>((resolve) => roomAgain = resolve);
  },
  async drain() {
    await producer.flush();
    while (pending > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  },
});
