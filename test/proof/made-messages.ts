// Hook scripts of the proofs that make other messages of records, each beside the function by which the judge knows
// what has to arrive. Deterministic, as effectively-once asks of hooks.

import { Buffer } from "node:buffer";
import type { LoadOptions } from "./load.ts";

/** A hook script, and what it makes of a user record. */
export interface MadeMessages {
  readonly script: string;
  readonly messagesOf: NonNullable<LoadOptions["messagesOf"]>;
}

/** Drops a fifth of the records. */
export const FILTERED: MadeMessages = {
  script: `export const onRecord = ({ data }) => data.length % 5 === 0 ? null : undefined;`,
  messagesOf: (key, data) => data.length % 5 === 0 ? [] : [{ key, data }],
};

/** None to three messages of a record, under keys of their own: on several partitions, each with its own receipt. */
export const MULTIPLIED: MadeMessages = {
  script: `
import { Buffer } from "node:buffer";
export const onRecord = ({ data, message }) =>
  Array.from({ length: data.length % 4 }, (_, copy) => ({
    ...message,
    key: message.key + "-" + copy,
    data: Buffer.concat([data, Buffer.from("#" + copy)]),
  }));
`,
  messagesOf: (key, data) =>
    Array.from({ length: data.length % 4 }, (_, copy) => ({
      key: `${key}-${copy}`,
      data: Buffer.concat([data, Buffer.from(`#${copy}`)]),
    })),
};
