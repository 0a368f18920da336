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
export function compare(ledger: Ledger, messages: readonly MessageSummary[]): Verdict {
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
    if (entry.sha256 !== message.sha256) faults.push(`${id} has other bytes (${message.bytes})`);
    if (entry.key !== message.key) faults.push(`${id} has key ${message.key} instead of ${entry.key}`);
    if (seen.has(id)) continue;
    seen.add(id);
    if (!entry.required) continue; // what LATEST may leave out may also come late, from its successors
    const { shardId, place } = entry;
    const where = `${message.partition} ${shardId}`;
    const before = places.get(where) ?? -1;
    if (place < before) faults.push(`${id} of ${shardId}: record ${place} came first after record ${before}`);
    places.set(where, Math.max(place, before));
    const shards = begun.get(message.partition) ?? new Set();
    begun.set(message.partition, shards.add(shardId));
    for (const [child, parents] of ledger.parents) {
      if (parents.includes(shardId) && shards.has(child)) {
        faults.push(`${id} of ${shardId} came first after a record of its child ${child}`);
      }
    }
  }
  const required = [...ledger.entries].filter(([, { required }]) => required);
  const lost = required.filter(([id]) => !seen.has(id))
    .map(([id, { shardId, place }]) => `${id} of ${shardId}, record ${place}`);
  return {
    records: required.length,
    messages: messages.length,
    lost,
    duplicates: messages.length - seen.size,
    faults,
  };
}
