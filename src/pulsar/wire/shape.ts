// Protobuf messages described once, as a table of fields: the table gives the types, the encoder and the decoder.
// For everything but the hot path (batches, SEND, receipts), which has hand-made code in entry.ts and receipt.ts.

import { Buffer } from "node:buffer";
import {
  BYTES,
  closeNested,
  FieldReader,
  MAX_VARINT,
  protocolError,
  stringBound,
  VARINT,
  writeBytes,
  writeString,
  writeVarint,
} from "./protobuf.ts";

/** How one kind of value is written and read. */
interface Kind<T> {
  readonly wireType: number;
  /** Upper bound of the bytes `write` takes. */
  bound(value: T): number;
  write(buffer: Buffer, at: number, value: T): number;
  read(reader: FieldReader): T;
}

type Presence = "required" | "optional" | "defaulted" | "repeated";

/** One field of a {@link Shape}. */
export interface Field<T, P extends Presence> {
  readonly number: number;
  readonly kind: Kind<T>;
  readonly presence: P;
  readonly default?: T;
}

/** A message: its fields by our names. */
// deno-lint-ignore no-explicit-any -- the fields' types are kept by inference, `any` only bounds them
export type Shape = Readonly<Record<string, Field<any, Presence>>>;

type Names<S extends Shape, P extends Presence> = {
  [K in keyof S]: S[K] extends Field<infer _, infer Q> ? Q extends P ? K : never : never;
}[keyof S];
type ValueOf<F> = F extends Field<infer T, Presence> ? T : never;

/** What the encoder takes: required fields, the others as you like. */
export type Outgoing<S extends Shape> =
  & { readonly [K in Names<S, "required">]: ValueOf<S[K]> }
  & { readonly [K in Names<S, "optional" | "defaulted">]?: ValueOf<S[K]> | undefined }
  & { readonly [K in Names<S, "repeated">]?: readonly ValueOf<S[K]>[] | undefined };

/** What the decoder gives: fields with a default and repeated ones are always there. */
export type Incoming<S extends Shape> =
  & { readonly [K in Names<S, "required" | "defaulted">]: ValueOf<S[K]> }
  & { readonly [K in Names<S, "optional">]?: ValueOf<S[K]> | undefined }
  & { readonly [K in Names<S, "repeated">]: readonly ValueOf<S[K]>[] };

/** A field that must be there. */
export function req<T>(number: number, kind: Kind<T>): Field<T, "required"> {
  return { number, kind, presence: "required" };
}
/** A field that may be missing. */
export function opt<T>(number: number, kind: Kind<T>): Field<T, "optional"> {
  return { number, kind, presence: "optional" };
}
/** A field that reads as `value` when missing. */
export function def<T>(number: number, kind: Kind<T>, value: T): Field<T, "defaulted"> {
  return { number, kind, presence: "defaulted", default: value };
}
/** A field that may occur any number of times. */
export function rep<T>(number: number, kind: Kind<T>): Field<T, "repeated"> {
  return { number, kind, presence: "repeated" };
}

/** uint32, uint64, enum. All ones in 64 bits = −1. */
export const uint: Kind<number> = {
  wireType: VARINT,
  bound: () => MAX_VARINT,
  write: writeVarint,
  read: (reader) => reader.uint(),
};
/** int32, int64. */
export const int: Kind<number> = { ...uint, read: (reader) => reader.int() };
export const bool: Kind<boolean> = {
  wireType: VARINT,
  bound: () => 1,
  write: (buffer, at, value) => writeVarint(buffer, at, value ? 1 : 0),
  read: (reader) => reader.bool(),
};
export const string: Kind<string> = {
  wireType: BYTES,
  bound: stringBound,
  write: writeString,
  read: (reader) => reader.string(),
};
/** Read as a view of the frame, not a copy. */
export const bytes: Kind<Uint8Array> = {
  wireType: BYTES,
  bound: (value) => 5 + value.length,
  write: writeBytes,
  read: (reader) => reader.bytes(),
};
/** A message inside a message. */
export function message<S extends Shape>(shape: S): Kind<Outgoing<S> & Partial<Incoming<S>>> {
  return {
    wireType: BYTES,
    bound: (value) => 5 + shapeBound(shape, value),
    write: (buffer, at, value) => closeNested(buffer, at, writeShape(shape, buffer, at + 1, value)),
    // deno-lint-ignore no-explicit-any -- an Incoming is an Outgoing whose defaults are filled in
    read: (reader) => readShape(shape, reader.nested()) as any,
  };
}

/** Upper bound of the bytes that {@link writeShape} takes. */
export function shapeBound<S extends Shape>(shape: S, values: Outgoing<S>): number {
  let bound = 0;
  for (const name in shape) {
    const { kind, presence } = shape[name]!;
    const value: unknown = (values as Record<string, unknown>)[name];
    if (value === undefined) continue;
    if (presence !== "repeated") bound += 5 + kind.bound(value);
    else for (const item of value as unknown[]) bound += 5 + kind.bound(item);
  }
  return bound;
}

/** Writes the fields in the table's order. */
export function writeShape<S extends Shape>(
  shape: S,
  buffer: Buffer,
  at: number,
  values: Outgoing<S>,
): number {
  for (const name in shape) {
    const { number, kind, presence } = shape[name]!;
    const value: unknown = (values as Record<string, unknown>)[name];
    if (value === undefined) continue;
    for (const item of presence === "repeated" ? value as unknown[] : [value]) {
      at = writeVarint(buffer, at, number * 8 + kind.wireType);
      at = kind.write(buffer, at, item);
    }
  }
  return at;
}

/** A message's bytes. */
export function encodeShape<S extends Shape>(shape: S, values: Outgoing<S>): Buffer {
  const buffer = Buffer.allocUnsafe(shapeBound(shape, values));
  return buffer.subarray(0, writeShape(shape, buffer, 0, values));
}

/** Reads all fields; unknown ones are skipped. Throws PULSAR_PROTOCOL when a required one is missing. */
export function readShape<S extends Shape>(shape: S, reader: FieldReader): Incoming<S> {
  const byNumber = fieldsByNumber(shape);
  const values: Record<string, unknown> = {};
  while (reader.next()) {
    const name = byNumber[reader.field];
    if (name === undefined) continue;
    const { kind, presence } = shape[name]!;
    const value: unknown = kind.read(reader);
    if (presence !== "repeated") values[name] = value;
    else if (values[name] === undefined) values[name] = [value];
    else (values[name] as unknown[]).push(value);
  }
  for (const name in shape) {
    if (values[name] !== undefined) continue;
    const { number, presence, default: value } = shape[name]!;
    if (presence === "required") throw protocolError(`a message without its field ${name} (${number})`);
    if (presence === "repeated") values[name] = [];
    else if (presence === "defaulted") values[name] = value;
  }
  return values as Incoming<S>;
}

/** {@link readShape} of a message's bytes. */
export function decodeShape<S extends Shape>(
  shape: S,
  from: Uint8Array,
  start = 0,
  end: number = from.length,
): Incoming<S> {
  return readShape(shape, new FieldReader(from, start, end));
}

const indexes = new WeakMap<Shape, (string | undefined)[]>();

function fieldsByNumber(shape: Shape): (string | undefined)[] {
  let index = indexes.get(shape);
  if (index === undefined) {
    index = [];
    for (const name in shape) index[shape[name]!.number] = name;
    indexes.set(shape, index);
  }
  return index;
}
