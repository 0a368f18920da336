// What is in a topic, judged by Pulsar's official Python client (topic_reader.py): built on the C++ client, so an
// opinion independent of the Java one in topic-reader.ts. The client is installed once (python-environment.ts).

import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pulsarBroker } from "./broker.ts";
import { missingPython, pythonWith } from "./python-environment.ts";
import type { MessageSummary } from "./topic-reader.ts";

/** A message as the Python client gives it. It tells neither sequence ids nor whether an absent key was empty. */
export interface PythonMessage {
  /** The concrete topic: with its `-partition-N`. */
  readonly topic: string;
  /** −1 in a topic without partitions. */
  readonly partition: number;
  readonly ledgerId: number;
  readonly entryId: number;
  /** −1 = not of a batch. */
  readonly batchIndex: number;
  readonly producerName: string;
  /** Epoch milliseconds. */
  readonly publishTime: number;
  /** Epoch milliseconds, 0 = none. */
  readonly eventTime: number;
  /** How often it was delivered to the subscription before. */
  readonly redeliveries: number;
  /** Absent = no key, or an empty one. */
  readonly key?: string;
  readonly orderingKey?: string;
  readonly properties: Readonly<Record<string, string>>;
  /** Absent = a null value. Chunked messages are whole. */
  readonly data?: Buffer;
}

/** What big tests compare: as MessageSummary of topic-reader.ts, without sequence ids. */
export type PythonSummary = Omit<MessageSummary, "sequenceId">;

/** What to read. */
export interface PythonReadOptions {
  /**
   * Wait until there are this many; then everything up to the topic's present end is read too, so that
   * duplicates show. @default 0: what is there now
   */
  readonly count?: number;
  /** Give up after so much silence, with what was read until then. @default 10000 */
  readonly timeoutMs?: number;
  /** @default the shared broker */
  readonly serviceUrl?: string;
  readonly token?: string;
  /** Of the one consumer on each partition. @default "Exclusive" */
  readonly subscriptionType?: "Exclusive" | "Shared" | "Failover" | "KeyShared";
}

const READER = fileURLToPath(new URL("./topic_reader.py", import.meta.url));
const REQUIREMENTS = fileURLToPath(new URL("./python-requirements.txt", import.meta.url));

/** As {@link missingPython}: `test(name, { skip: pythonMissing() ?? false }, …)`. */
export function pythonMissing(): string | undefined {
  return missingPython(REQUIREMENTS);
}

/** The interpreter that has the client, installed at first use: seconds, and then found in the cache folder. */
export function pythonWithPulsar(): Promise<string> {
  return pythonWith(REQUIREMENTS);
}

/** All messages of a topic from the earliest on: partition after partition, each in its order. */
export async function readWithPython(
  topic: string,
  options: PythonReadOptions = {},
): Promise<PythonMessage[]> {
  const messages = await ask(topic, options, false, (line) => {
    const value = line as PythonMessage & { readonly data?: unknown };
    return value.data === undefined ? value : { ...value, data: Buffer.from(String(value.data), "base64") };
  });
  return messages.sort((a, b) => a.partition - b.partition);
}

/** The same in short, for gigabytes of messages. */
export async function summarizeWithPython(
  topic: string,
  options: PythonReadOptions = {},
): Promise<PythonSummary[]> {
  const messages = await ask(topic, options, true, (line) => {
    const [partition, key, sequenceNumber, subSequenceNumber, bytes, sha256] = line as [
      number,
      string | null,
      string | null,
      string | null,
      number,
      string,
    ];
    return { partition, key, sequenceNumber, subSequenceNumber, bytes, sha256 };
  });
  return messages.sort((a, b) => a.partition - b.partition);
}

async function ask<T>(
  topic: string,
  options: PythonReadOptions,
  summary: boolean,
  parse: (line: unknown) => T,
): Promise<T[]> {
  const parameters = {
    topic,
    serviceUrl: options.serviceUrl ?? (await pulsarBroker()).serviceUrl,
    count: options.count ?? 0,
    timeoutMs: options.timeoutMs ?? 10_000,
    subscriptionType: options.subscriptionType ?? "Exclusive",
    summary,
    ...(options.token === undefined ? {} : { token: options.token }),
  };
  const child = spawn(await pythonWithPulsar(), [READER, JSON.stringify(parameters)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let words = "";
  child.stderr.on("data", (data) => words = (words + data).slice(-4000));
  const left = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  });
  left.catch(() => {}); // awaited below, after the lines
  const messages: T[] = [];
  let ended = false;
  for await (const line of createInterface({ input: child.stdout, crlfDelay: Infinity })) {
    const value = JSON.parse(line);
    if (value.error !== undefined) throw new Error(`python: ${topic}: ${value.error}\n${words}`);
    if (value.end === true) ended = true;
    else messages.push(parse(value));
  }
  await left;
  if (!ended) throw new Error(`python: ${topic}: ended too soon\n${words}`);
  return messages;
}
