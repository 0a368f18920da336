// protobufjs with our own .proto: the independent opinion on the hand-written codec.

import { readFileSync } from "node:fs";
import fc from "fast-check";
import protobuf from "protobufjs";

const root = protobuf.parse(readFileSync(new URL("./pulsar.proto", import.meta.url), "utf8"), {
  keepCase: false,
})
  .root.resolveAll();

/** A message type of pulsar.proto. */
export function messageType(name: string): protobuf.Type {
  return root.lookupType(name);
}

/** What protobufjs reads, as a plain object with numbers. */
export function decodeByOracle(name: string, bytes: Uint8Array): Record<string, unknown> {
  const type = messageType(name);
  return type.toObject(type.decode(bytes), { longs: Number, bytes: Array, arrays: true }) as Record<
    string,
    unknown
  >;
}

/** Random values for all fields of a message type; optional ones are often missing. */
export function fieldsArbitrary(type: protobuf.Type): fc.Arbitrary<Record<string, unknown>> {
  const required: string[] = [];
  const model: Record<string, fc.Arbitrary<unknown>> = {};
  for (const field of type.fieldsArray) {
    if (field.required) required.push(field.name);
    const value = valueArbitrary(field);
    model[field.name] = field.repeated ? fc.array(value, { minLength: 1, maxLength: 3 }) : value;
  }
  return fc.record(model, { requiredKeys: required });
}

function valueArbitrary(field: protobuf.Field): fc.Arbitrary<unknown> {
  if (field.resolvedType instanceof protobuf.Type) return fieldsArbitrary(field.resolvedType);
  switch (field.type) {
    case "bool":
      return fc.boolean();
    case "string":
      return fc.string({ unit: "grapheme", maxLength: 200 });
    case "bytes":
      return fc.uint8Array({ maxLength: 200 });
    case "int32":
      return fc.integer();
    case "uint32":
      return fc.nat();
    case "int64":
      return fc.maxSafeInteger();
    case "uint64":
      return fc.maxSafeNat();
    default:
      throw new Error(`no values for type ${field.type}`);
  }
}

/** The same values with every byte array as numbers, so that Buffer and Uint8Array compare equal. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(entries.map(([name, inner]) => [name, plain(inner)]));
}
