// What is in a topic, judged by the official Java client (TopicReader.java) and never by our own codec.
// One reader serves a whole run: the runner starts it and hands it on in TEST_TOPIC_READER_URL.

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { pulsarBroker, resolveClassPath } from "./broker.ts";
import { startServer } from "./child.ts";
import { compileJava, javaCommand } from "./java.ts";

/** A message as the Java client gives it. */
export interface TopicMessage {
  /** The concrete topic: with its `-partition-N`. */
  readonly topic: string;
  /** −1 in a topic without partitions. */
  readonly partition: number;
  /** As Java prints it: `ledger:entry:partition[:batch index]`. */
  readonly messageId: string;
  readonly producerName: string;
  readonly sequenceId: number;
  /** Epoch milliseconds. */
  readonly publishTime: number;
  /** Epoch milliseconds, 0 = none. */
  readonly eventTime: number;
  /** Absent = no key. */
  readonly key?: string;
  /** The key was given as bytes; `key` is their Base64. */
  readonly keyIsBase64?: boolean;
  readonly orderingKey?: Buffer;
  readonly properties: Readonly<Record<string, string>>;
  /** Absent = a null value. */
  readonly data?: Buffer;
}

/** What big tests compare. */
export interface MessageSummary {
  readonly partition: number;
  readonly key: string | null;
  readonly sequenceId: number;
  /** Property `kinesis.sequence.number`. */
  readonly sequenceNumber: string | null;
  /** Property `kinesis.subsequence.number`. */
  readonly subSequenceNumber: string | null;
  readonly bytes: number;
  /** Of the payload, hexadecimal. */
  readonly sha256: string;
}

/** What to read. */
export interface ReadOptions {
  /**
   * Wait until there are this many; then everything up to the topic's present end is read too, so that
   * duplicates show. @default 0: what is there now
   */
  readonly count?: number;
  /** Give up after so much silence, with what was read until then. @default 10000 */
  readonly timeoutMs?: number;
  /** Messages that are fetched ahead; fewer for large ones, the reader has 256 MiB for them. @default 2000 */
  readonly queueSize?: number;
  /** @default the shared broker */
  readonly serviceUrl?: string;
  readonly token?: string;
}

/** What a message for {@link sendToTopic} may have. */
export type MessageToSend =
  & Partial<Pick<TopicMessage, "key" | "keyIsBase64" | "eventTime" | "sequenceId" | "properties">>
  & { readonly data?: Uint8Array; readonly orderingKey?: Uint8Array; readonly deliverAt?: number };

/** How the Java producer of {@link sendToTopic} works. */
export interface SendOptions extends Pick<ReadOptions, "serviceUrl" | "token"> {
  readonly batching?: boolean;
  readonly chunking?: boolean;
  readonly compression?: "NONE" | "LZ4" | "ZLIB" | "ZSTD" | "SNAPPY";
  readonly producerName?: string;
  /** How a key chooses its partition. @default "Murmur3_32Hash" */
  readonly hashingScheme?: "Murmur3_32Hash" | "JavaStringHash";
}

let shared: Promise<{ readonly url: string }> | undefined;

/** The reader that all tests share; started on first use (compiled once per version), stopped with this process. */
export function topicReader(): Promise<{ readonly url: string }> {
  const url = process.env.TEST_TOPIC_READER_URL;
  return url ? Promise.resolve({ url }) : shared ??= startTopicReader();
}

/** All messages of a topic from the earliest on: partition after partition, each in its order. */
export async function readTopic(topic: string, options: ReadOptions = {}): Promise<TopicMessage[]> {
  const messages = await ask("read", topic, options, (line) => {
    const { data, orderingKey, ...rest } = line as unknown as Record<string, string> & TopicMessage;
    return {
      ...rest,
      ...(data === undefined ? {} : { data: Buffer.from(data as unknown as string, "base64") }),
      ...(orderingKey === undefined
        ? {}
        : { orderingKey: Buffer.from(orderingKey as unknown as string, "base64") }),
    } as TopicMessage;
  });
  return messages.sort((a, b) => a.partition - b.partition);
}

/** The same in short, for hundreds of thousands of messages. */
export async function summarizeTopic(topic: string, options: ReadOptions = {}): Promise<MessageSummary[]> {
  const messages = await ask("summary", topic, options, (line) => {
    const [partition, key, sequenceId, sequenceNumber, subSequenceNumber, bytes, sha256] =
      line as unknown as [number, string | null, number, string | null, string | null, number, string];
    return { partition, key, sequenceId, sequenceNumber, subSequenceNumber, bytes, sha256 };
  });
  return messages.sort((a, b) => a.partition - b.partition);
}

/** What {@link shareTopic} reads. */
export interface ShareOptions extends Pick<ReadOptions, "timeoutMs" | "serviceUrl" | "token"> {
  readonly subscription: string;
  readonly count: number;
  /** @default 2 */
  readonly consumers?: number;
}

/** What the consumers of a new Key_Shared subscription get from its start on, by consumer (from 0). */
export async function shareTopic(
  topic: string,
  options: ShareOptions,
): Promise<{ readonly consumer: number; readonly key: string | undefined; readonly text: string }[]> {
  return await ask("share", topic, options, ({ consumer, key, data }) => ({
    consumer: consumer as number,
    key: key as string | undefined,
    text: Buffer.from(data as string, "base64").toString(),
  }));
}

/** Publishes with the Java client; gives the message ids as Java prints them. */
export async function sendToTopic(
  topic: string,
  messages: readonly MessageToSend[],
  options: SendOptions = {},
): Promise<string[]> {
  const lines = messages.map(({ data, orderingKey, ...rest }) =>
    JSON.stringify({
      ...rest,
      ...(data === undefined ? {} : { data: Buffer.from(data).toString("base64") }),
      ...(orderingKey === undefined ? {} : { orderingKey: Buffer.from(orderingKey).toString("base64") }),
    })
  );
  return await ask("send", topic, options, (line) => line.messageId as string, lines.join("\n"));
}

async function ask<T>(
  action: string,
  topic: string,
  options: ReadOptions & SendOptions & Partial<ShareOptions>,
  parse: (line: Record<string, unknown>) => T,
  body?: string,
): Promise<T[]> {
  const query = new URLSearchParams({
    topic,
    serviceUrl: options.serviceUrl ?? (await pulsarBroker()).serviceUrl,
  });
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) query.set(name, String(value));
  }
  // URLSearchParams writes a blank as "+", which the reader's decoder reads back as a blank
  const response = await fetch(`${(await topicReader()).url}/${action}?${query}`, {
    ...(body === undefined ? {} : { method: "POST", body }),
  });
  if (!response.body) throw new Error(`topic reader: ${action} ${topic}: ${response.status} without a body`);
  const result: T[] = [];
  let rest: string[] = []; // of a line; large messages come in hundreds of pieces
  let ended = false;
  const take = (text: string) => {
    rest.push(text);
    if (!text.includes("\n")) return;
    const lines = rest.join("").split("\n");
    rest = [lines.pop() ?? ""];
    for (const line of lines) {
      if (line === "") continue;
      const value = JSON.parse(line);
      if (value.error !== undefined) throw new Error(`topic reader: ${action} ${topic}: ${value.error}`);
      if (value.end === true) ended = true;
      else result.push(parse(value));
    }
  };
  const decoder = new TextDecoder();
  for await (const chunk of response.body) take(decoder.decode(chunk, { stream: true }));
  take("\n");
  if (!ended) throw new Error(`topic reader: ${action} ${topic}: its answer was cut off`);
  return result;
}

async function startTopicReader(): Promise<{ readonly url: string }> {
  const classPathFile = resolveClassPath();
  const jars = readFileSync(classPathFile, "utf8").trim();
  const source = fileURLToPath(new URL("./TopicReader.java", import.meta.url));
  const classes = compileJava(source, jars, basename(classPathFile));
  const server = await startServer({
    name: "topic-reader",
    command: javaCommand("java"),
    args: [
      "-Xms64m",
      "-Xmx512m",
      "-XX:MaxDirectMemorySize=1g",
      "-XX:+UseSerialGC",
      "-Djava.net.preferIPv4Stack=true",
      "TopicReader",
    ],
    env: { CLASSPATH: `${classes}:${jars}` },
    timeoutMs: 60_000,
  });
  return { url: server.ready.url as string };
}
