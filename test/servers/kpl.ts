// KPL aggregates by AWS's own Python module (aws-kinesis-agg): an opinion on the format that is not ours.

import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { AggregateInput } from "../core/aggregate.ts";
import { missingPython, pythonWith } from "./python-environment.ts";

const REQUIREMENTS = fileURLToPath(new URL("./kpl-requirements.txt", import.meta.url));
const PROGRAM = fileURLToPath(new URL("./kpl_aggregates.py", import.meta.url));

/** A user record as the module unpacks it. */
export interface UnpackedRecord {
  readonly partitionKey: string;
  readonly explicitHashKey: string | undefined;
  readonly data: Buffer;
  /** Undefined for a record that is no aggregate. */
  readonly subSequenceNumber: number | undefined;
}

/** Why it cannot be used here, or undefined: `test(name, { skip: kplMissing() ?? false }, …)`. */
export function kplMissing(): string | undefined {
  return missingPython(REQUIREMENTS);
}

/** One aggregate of each list. */
export async function packByPython(lists: readonly (readonly AggregateInput[])[]): Promise<Uint8Array[]> {
  const pack = lists.map((records) =>
    records.map(({ partitionKey, explicitHashKey, data }) => [
      partitionKey,
      explicitHashKey ?? null,
      Buffer.from(data).toString("base64"),
    ])
  );
  return (await ask({ pack }) as string[]).map((data) => Uint8Array.from(Buffer.from(data, "base64")));
}

/** The user records of each Kinesis record. */
export async function unpackByPython(records: readonly Uint8Array[]): Promise<UnpackedRecord[][]> {
  const unpack = records.map((data) => Buffer.from(data).toString("base64"));
  const lists = await ask({ unpack }) as [string, string | null, string, number | null][][];
  return lists.map((list) =>
    list.map(([partitionKey, explicitHashKey, data, subSequenceNumber]) => ({
      partitionKey,
      explicitHashKey: explicitHashKey ?? undefined,
      data: Buffer.from(data, "base64"),
      subSequenceNumber: subSequenceNumber ?? undefined,
    }))
  );
}

async function ask(question: unknown): Promise<unknown> {
  const child = spawn(await pythonWith(REQUIREMENTS), [PROGRAM], { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => {}); // its words say why
  child.stdin.end(JSON.stringify(question));
  const [answer, words] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (answer === "" || words !== "") throw new Error(`kpl_aggregates.py: ${words}`);
  return JSON.parse(answer);
}
