// What arrived against what was put, as the official Java client reads the topic.

import assert from "node:assert/strict";
import type { DeliveryMode } from "./proof.ts";
import { type MessageSummary, type ReadOptions, summarizeTopic } from "../servers/topic-reader.ts";
import type { Ledger } from "./load.ts";

/** What became of the records of a ledger. */
export interface Verdict {
  /** User records that had to arrive. */
  readonly records: number;
  readonly messages: number;
  readonly lost: readonly string[];
  readonly duplicates: number;
  /** Wrong bytes, wrong keys, unknown records, first occurrences out of order: one line each. */
  readonly faults: readonly string[];
}

/** Reads the whole topic and compares. */
export async function judge(topic: string, ledger: Ledger, options: ReadOptions = {}): Promise<Verdict> {
  return compare(ledger, await summarizeTopic(topic, { timeoutMs: 20_000, ...options }));
}

/** Fails with the details unless nothing is lost and everything is as it was put. */
export function assertIntact(verdict: Verdict): void {
  const some = (lines: readonly string[]) => `${lines.length}:\n${lines.slice(0, 10).join("\n")}`;
  assert.equal(verdict.lost.length, 0, `lost ${some(verdict.lost)}`);
  assert.equal(verdict.faults.length, 0, `wrong ${some(verdict.faults)}`);
}

/** {@link assertIntact}, and no duplicates where the mode promises that. */
export function assertDelivered(verdict: Verdict, delivery: DeliveryMode): void {
  assertIntact(verdict);
  if (delivery === "effectively-once") {
    assert.equal(verdict.duplicates, 0, `${verdict.duplicates} duplicates`);
  }
}

/** The comparison itself. */
export function compare(ledger: Ledger, messages: readonly Omit<MessageSummary, "sequenceId">[]): Verdict {
  const faults: string[] = [];
  const seen = new Set<string>();
  /** By partition and shard: place of the last first occurrence. */
  const places = new Map<string, number>();
  /** By partition: shards of which something came. */
  const begun = new Map<number, Set<string>>();
  for (const message of messages) {
    const id = `${message.sequenceNumber}/${message.subSequenceNumber}`;
    const entry = ledger.entries.get(id);
    if (entry === undefined) {
      faults.push(`${id} was never put`);
      continue;
    }
    const index = entry.messages.findIndex(({ sha256 }) => sha256 === message.sha256);
    const expected = entry.messages[index];
    if (expected === undefined) {
      const why = entry.messages.length === 0 ? "was dropped by the hook" : "has other bytes";
      faults.push(`${id} ${why} (${message.bytes})`);
      continue;
    }
    if (expected.key !== message.key) {
      faults.push(`${id} has key ${message.key} instead of ${expected.key}`);
    }
    const messageId = `${id}#${index}`;
    if (seen.has(messageId)) continue;
    seen.add(messageId);
    if (!entry.required) continue; // what LATEST may leave out may also come late, from its successors
    const { shardId } = entry;
    const place = entry.place * MOST_MESSAGES + index;
    const where = `${message.partition} ${shardId}`;
    const before = places.get(where) ?? -1;
    if (place < before) {
      const after = Math.floor(before / MOST_MESSAGES);
      faults.push(`${id} of ${shardId}: record ${entry.place} came first after record ${after}`);
    }
    places.set(where, Math.max(place, before));
    const shards = begun.get(message.partition) ?? new Set();
    begun.set(message.partition, shards.add(shardId));
    for (const [child, parents] of ledger.parents) {
      if (parents.includes(shardId) && shards.has(child)) {
        faults.push(`${id} of ${shardId} came first after a record of its child ${child}`);
      }
    }
  }
  const lost: string[] = [];
  let records = 0;
  for (const [id, { shardId, place, messages, required }] of ledger.entries) {
    if (!required) continue;
    records++;
    messages.forEach((_, index) => {
      if (!seen.has(`${id}#${index}`)) lost.push(`${id} of ${shardId}, record ${place}, message ${index}`);
    });
  }
  return { records, messages: messages.length, lost, duplicates: messages.length - seen.size, faults };
}

/** Of one record: more than any hook here makes. */
const MOST_MESSAGES = 1024;
