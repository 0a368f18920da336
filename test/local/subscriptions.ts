// SubscribeToShard through the stock SDK, over each transport, and what a test wants of it: the next event, all
// until the end, how it ended.

import type { TestContext } from "node:test";
import {
  KinesisClient,
  type StartingPosition,
  SubscribeToShardCommand,
  type SubscribeToShardEvent,
} from "@aws-sdk/client-kinesis";
import { NodeHttp2Handler, NodeHttpHandler } from "@smithy/node-http-handler";
import { kinesisClientConfig } from "../servers/kinesis.ts";

const PATIENCE_MS = 30_000;

/** How a client reaches the server. */
export type Transport = "http/1.1" | "h2c";

/** Both, in the order that tests try them. */
export const TRANSPORTS: readonly Transport[] = ["http/1.1", "h2c"];

/** A client that speaks one protocol; destroyed at the test's end. */
export function clientOver(t: TestContext, url: string, transport: Transport): KinesisClient {
  const requestHandler = transport === "h2c"
    ? new NodeHttp2Handler({ requestTimeout: 30_000, disableConcurrentStreams: false })
    : new NodeHttpHandler({ requestTimeout: 30_000, throwOnRequestTimeout: true });
  const client = new KinesisClient({ ...kinesisClientConfig(url), requestHandler });
  t.after(() => client.destroy());
  return client;
}

/** A subscription as its client sees it. */
export interface Subscribed {
  /** The next event; undefined at the end. Throws what the stream throws. */
  next(): Promise<SubscribeToShardEvent | undefined>;
  /** Texts of all records until `count` are there or the stream ends. */
  texts(count: number): Promise<string[]>;
  /** Leaves it. */
  leave(): void;
}

// An event that never comes shall fail its test, not hang it.
async function inTime<T>(result: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no event within ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([result, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Opens a subscription; left at the test's end. */
export async function subscribe(
  t: TestContext,
  client: KinesisClient,
  consumerArn: string,
  shardId: string,
  position: StartingPosition = { Type: "TRIM_HORIZON" },
): Promise<Subscribed> {
  const leaving = new AbortController();
  t.after(() => leaving.abort());
  const answer = await client.send(
    new SubscribeToShardCommand({ ConsumerARN: consumerArn, ShardId: shardId, StartingPosition: position }),
    { abortSignal: leaving.signal },
  );
  const events = answer.EventStream![Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await inTime(events.next());
    return done ? undefined : value.SubscribeToShardEvent;
  };
  return {
    next,
    async texts(count) {
      const texts: string[] = [];
      while (texts.length < count) {
        const event = await next();
        if (!event) break;
        texts.push(...event.Records!.map((record) => new TextDecoder().decode(record.Data)));
      }
      return texts;
    },
    leave: () => leaving.abort(),
  };
}
