// What an operation is: the shape of its request, which stream and shard it concerns (for faults, permissions
// and the request log), and what it does. Operations know nothing of HTTP: a transport carries them.

import type { Account, StreamReference } from "../account.ts";
import type { Subscription } from "../subscription.ts";
import type { Rule, Shape } from "../validation.ts";

/** An answer that is already encoded, in slices; anything else is written as JSON. */
export class EncodedAnswer {
  readonly chunks: readonly Uint8Array[];
  /** Records in it, for the request log. */
  readonly records: number;

  constructor(chunks: readonly Uint8Array[], records: number) {
    this.chunks = chunks;
    this.records = records;
  }
}

/** Which stream and shard a request concerns. */
export interface Target {
  readonly streamName?: string | undefined;
  readonly shardId?: string | undefined;
}

/** One operation of the API. `run` throws KinesisError; undefined is an empty answer, a Subscription a stream. */
export interface Operation<Input extends object = object> {
  readonly shape: Shape;
  target(input: Input, account: Account): Target;
  run(input: Input, account: Account): object | EncodedAnswer | Subscription | undefined;
}

export const STREAM_NAME: Rule = { type: "string", pattern: "[a-zA-Z0-9_.-]+", min: 1, max: 128 };
export const STREAM_ARN: Rule = {
  type: "string",
  pattern: "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+",
  min: 1,
  max: 2048,
};
export const SHARD_ID: Rule = { type: "string", pattern: "[a-zA-Z0-9_.-]+", min: 1, max: 128 };
export const SEQUENCE_NUMBER: Rule = { type: "string", pattern: "0|([1-9]\\d{0,128})" };
export const HASH_KEY: Rule = { type: "string", pattern: "0|([1-9]\\d{0,38})" };
/** A stream by name or ARN. */
export const STREAM: Shape = { StreamName: STREAM_NAME, StreamARN: STREAM_ARN };

/** The target of an operation on a stream. */
export function streamTarget(input: StreamReference, account: Account): Target {
  return { streamName: account.nameOf(input) };
}

/** The same rule for a field that must be there. */
export function required(rule: Rule): Rule {
  return { ...rule, required: true };
}
