// What the tests of reading share: a source on a stream of a local server, grants that are counted, pages as text.

import { Buffer } from "node:buffer";
import type { TestContext } from "node:test";
import type { KinesisClientConfig } from "@aws-sdk/client-kinesis";
import type { RecordPage } from "../../src/core/record.ts";
import { type KinesisApi, openKinesisApi } from "../../src/kinesis/client.ts";
import { createPollingSource, type PollingOptions } from "../../src/kinesis/polling.ts";
import type { ReadGrant, ReadShardOptions, RecordSource, ShardReader } from "../../src/kinesis/source.ts";
import { systemClock } from "../../src/runtime.ts";
import { RecordingLogger } from "../fakes.ts";
import { kinesisClientConfig } from "../servers/kinesis.ts";

/** Counts what was granted, and what was given back. */
export class Grants {
  readonly maxRecords: number;
  granted = 0;
  released = 0;

  constructor(maxRecords = 10_000) {
    this.maxRecords = maxRecords;
  }

  /** Held by pages that were given, or by a read that is under way. */
  get held(): number {
    return this.granted - this.released;
  }

  readonly admit = (signal: AbortSignal): Promise<ReadGrant | undefined> => {
    if (signal.aborted) return Promise.resolve(undefined);
    this.granted++;
    let isReleased = false;
    return Promise.resolve({
      maxRecords: this.maxRecords,
      release: () => {
        if (isReleased) throw new Error("released twice");
        isReleased = true;
        this.released++;
      },
      settle: () => {
        throw new Error("the reader must not settle a grant");
      },
    });
  };
}

/** Pacing that hardly ever waits, for tests on real time. */
export const QUICK = {
  backoffTimeMs: 20,
  idlePollMs: 10,
  maxReadsPerSecond: 200,
  maxReadBytesPerSecond: 1e9,
} as const;

/** A source that reads a stream of a local server. */
export interface OpenedSource {
  readonly api: KinesisApi;
  readonly source: RecordSource;
  readonly log: RecordingLogger;
}

/** Opens a source on a server; all of it ends with the test. */
export async function openSource(
  t: TestContext,
  server: { readonly url: string; readonly streamName: string },
  options: Partial<PollingOptions> = {},
  clientConfig: KinesisClientConfig = kinesisClientConfig(server.url),
): Promise<OpenedSource> {
  const { streamName } = server;
  const clock = systemClock;
  const api = await openKinesisApi({ clientConfig, streamName, clock });
  t.after(() => api.close());
  const log = new RecordingLogger();
  const source = createPollingSource({ api, streamName, clock, log, ...QUICK, ...options });
  t.after(() => source.close());
  return { api, source, log };
}

/** Reads until the condition holds for all that came, or the shard ends. */
export async function readUntil(
  reader: ShardReader,
  enough: (data: readonly string[]) => boolean,
  grants = new Grants(),
): Promise<{ readonly data: string[]; readonly pages: RecordPage[] }> {
  const data: string[] = [];
  const pages: RecordPage[] = [];
  for (;;) {
    const granted = await reader.next(grants.admit);
    if (granted === undefined) break;
    pages.push(granted.page);
    data.push(...textsOf(granted.page));
    if (granted.page.shardEnd !== undefined || enough(data)) break;
  }
  return { data, pages };
}

/** The records' data as text. */
export function textsOf(page: RecordPage): string[] {
  return page.records.map((record) => Buffer.from(record.data).toString("utf8"));
}

/** Options of a reader that is never stopped. */
export function readFrom(
  shardId: string,
  start: ReadShardOptions["start"],
  more: Partial<ReadShardOptions> = {},
): ReadShardOptions {
  return { shardId, start, signal: new AbortController().signal, ...more };
}
