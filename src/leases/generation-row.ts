// A generation (effectively once) as attributes of a lease row. Whatever cannot be read is as if it were not there:
// the shard then begins a new generation, which is always safe; it never stops a connector.

import { isPossible, MAX_ORDINAL, type PulsarGeneration, type StoredGeneration } from "../core/generation.ts";
import { isCheckpoint, isSequenceNumber, type Position, type Sentinel, sentinel } from "../core/position.ts";
import type { Attribute, LeaseItem } from "./row.ts";

/** Names of the attributes. */
export const GENERATION_ATTRIBUTES = [
  "pulsarGeneration",
  "pulsarAnchor",
  "pulsarOrdinal",
  "pulsarOrdinalAt",
  "pulsarDigest",
  "pulsarDrained",
  "pulsarRefused",
  "pulsarPartitions",
] as const;

/** All attributes of a generation. */
export function generationItem(generation: PulsarGeneration): Record<string, Attribute> {
  const { id, anchor, ordinal, ordinalAt, digest, drained, refused, partitions } = generation;
  const counts = Object.entries(partitions).map(([topic, count]) => [topic, { N: String(count) }]);
  return {
    pulsarGeneration: { S: id },
    pulsarAnchor: { S: positionText(anchor) },
    pulsarOrdinal: { N: String(ordinal) },
    pulsarOrdinalAt: { S: positionText(ordinalAt) },
    pulsarDigest: { S: digest },
    pulsarDrained: { BOOL: drained },
    pulsarRefused: { BOOL: refused },
    pulsarPartitions: { M: Object.fromEntries(counts) },
  };
}

/** What a row holds of a generation. */
export function readGeneration(item: LeaseItem): StoredGeneration {
  if (GENERATION_ATTRIBUTES.every((name) => item[name] === undefined)) return undefined;
  const id = item["pulsarGeneration"]?.S;
  const anchor = readPosition(item["pulsarAnchor"]?.S);
  const ordinal = readCount(item["pulsarOrdinal"], MAX_ORDINAL);
  const ordinalAt = readPosition(item["pulsarOrdinalAt"]?.S);
  const digest = item["pulsarDigest"]?.S;
  const drained = item["pulsarDrained"]?.BOOL;
  const refused = item["pulsarRefused"] === undefined ? false : item["pulsarRefused"].BOOL;
  const partitions = readPartitions(item["pulsarPartitions"]?.M);
  if (
    !id || anchor === undefined || ordinal === undefined || ordinalAt === undefined || !digest ||
    drained === undefined || refused === undefined || partitions === undefined
  ) return "unreadable";
  const generation = { id, anchor, ordinal, ordinalAt, digest, drained, refused, partitions };
  return isPossible(generation) ? generation : "unreadable";
}

/** `number/sub`, or a sentinel's name. */
function positionText({ sequenceNumber, subSequenceNumber }: Position): string {
  return isSequenceNumber(sequenceNumber) ? `${sequenceNumber}/${subSequenceNumber}` : sequenceNumber;
}

function readPosition(text: string | undefined): Position | undefined {
  if (text === undefined) return undefined;
  const digits = /^(\d{1,200})\/(-1|\d{1,9})$/.exec(text); // -1: before the record, as `leases reset` stores it
  if (digits !== null) return { sequenceNumber: digits[1]!, subSequenceNumber: Number(digits[2]) };
  return isCheckpoint(text) && !isSequenceNumber(text) ? sentinel(text as Sentinel) : undefined;
}

function readCount(attribute: Attribute | undefined, most: number): number | undefined {
  const value = Number(attribute?.N ?? NaN);
  return Number.isInteger(value) && value >= 0 && value <= most ? value : undefined;
}

function readPartitions(map: Attribute["M"]): Record<string, number> | undefined {
  if (map === undefined) return undefined;
  const partitions: Record<string, number> = {};
  for (const [topic, attribute] of Object.entries(map)) {
    const count = readCount(attribute, 2 ** 31);
    if (count === undefined) return undefined;
    partitions[topic] = count;
  }
  return partitions;
}
