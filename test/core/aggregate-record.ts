// A KPL aggregate as a record, for tests that are not about aggregates.

import { Buffer } from "node:buffer";
import type { RawRecord } from "../../src/core/record.ts";
import { encodeAggregate } from "./aggregate.ts";

/** An aggregate of these texts under one sequence number. */
export function newAggregate(sequenceNumber: string, texts: readonly string[]): RawRecord {
  return {
    data: encodeAggregate(texts.map((text) => ({ partitionKey: `key ${text}`, data: Buffer.from(text) }))),
    partitionKey: "a",
    sequenceNumber,
    approximateArrivalTimestamp: 0,
    encryptionType: "NONE",
  };
}
