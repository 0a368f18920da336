// From what a script returned to a message that can be sent. Strict: a slip in a field's name or type would lose data
// quietly. Messages of faults name fields and types, never values (G8).

import { Buffer } from "node:buffer";
import type { SinkMessage } from "../core/record.ts";
import { nearest } from "../core/suggest.ts";

/** A result that is no message. It is the script's mistake and the same at every repetition. */
export class InvalidResult extends Error {
  override readonly name = "InvalidResult";
}

/** Which topics messages of hooks may go to. */
export interface TopicRule {
  /** Where a message goes that names no topic. */
  readonly topic: string;
  /** Whether messages must not name this topic (full or short); none when absent. */
  readonly isReserved?: ((topic: string) => boolean) | undefined;
}

const FIELDS = ["data", "key", "orderingKey", "properties", "eventTime", "topic", "deliverAt"];

/**
 * A message from a script as the sink takes it: strings as UTF-8, objects as JSON, dates as milliseconds.
 * @throws InvalidResult
 */
export function toSinkMessage(value: unknown, topics: TopicRule): SinkMessage {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidResult(`returned ${typeOf(value)} where a message { data, key?, … } is needed`);
  }
  const message = value as Record<string, unknown>;
  for (const field in message) {
    if (!isField(field)) throw unknownField(field, value);
  }
  return {
    topic: message.topic === undefined ? topics.topic : topicOf(message.topic, topics),
    data: bytesOf(message.data),
    key: optionalString("key", message.key),
    orderingKey: message.orderingKey === undefined ? undefined : orderingKeyOf(message.orderingKey),
    properties: message.properties === undefined ? undefined : propertiesOf(message.properties),
    eventTime: timeOf("eventTime", message.eventTime),
    deliverAt: timeOf("deliverAt", message.deliverAt),
  };
}

/** The kind of a value in words, never the value itself. */
export function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "undefined";
  if (typeof value !== "object") return `a ${typeof value}`;
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  return /^[AEIOU]/.test(tag) ? `an ${tag}` : `a ${tag}`;
}

function isField(name: string): boolean {
  switch (name) {
    case "data":
    case "key":
    case "orderingKey":
    case "properties":
    case "eventTime":
    case "topic":
    case "deliverAt":
      return true;
    default:
      return false;
  }
}

function unknownField(field: string, value: object): InvalidResult {
  if (!("data" in value)) {
    return new InvalidResult(
      `returned an object without data, but with ${field}: a message is { data, key?, … }, so perhaps { data: … }`,
    );
  }
  const meant = nearest(field, FIELDS);
  const hint = meant === undefined ? `a message has ${FIELDS.join(", ")}` : `did you mean ${meant}?`;
  return new InvalidResult(`returned a message with the unknown field ${field} (${hint})`);
}

function bytesOf(data: unknown): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === "string") return Buffer.from(data, "utf8");
  // Maps, dates, promises and the like have tags of their own: as JSON they would be {} or a string.
  const tag = Object.prototype.toString.call(data);
  if (tag === "[object Object]" || tag === "[object Array]") return Buffer.from(jsonOf(data), "utf8");
  const hint = data instanceof Promise
    ? "; an await is missing"
    : ArrayBuffer.isView(data) || data instanceof ArrayBuffer
    ? "; wrap it in a Uint8Array"
    : "";
  throw new InvalidResult(
    `returned a message with ${
      typeOf(data)
    } as data: bytes (Uint8Array), a string, or a plain object or array ` +
      `(JSON) is allowed${hint}`,
  );
}

function jsonOf(data: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(data);
  } catch (error) {
    const why = error instanceof TypeError ? error.message.split("\n")[0] : "its toJSON failed";
    throw new InvalidResult(`returned a message whose data cannot be written as JSON: ${why}`, {
      cause: error,
    });
  }
  if (text === undefined) throw new InvalidResult("returned a message whose data has no JSON form");
  return text;
}

function topicOf(topic: unknown, { isReserved }: TopicRule): string {
  if (typeof topic === "string" && topic !== "") {
    if (isReserved?.(topic) !== true) return topic;
    throw new InvalidResult(
      `returned a message for ${topic}, the topic for dead letters: under delivery = "effectively-once" only those ` +
        "may go there. Choose another topic, or throw for this record to become a dead letter",
    );
  }
  const what = topic === "" ? "an empty string" : typeOf(topic);
  throw new InvalidResult(
    `returned a message with ${what} as topic: a topic's name, or nothing for pulsar.topic`,
  );
}

function optionalString(field: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  throw new InvalidResult(`returned a message with ${typeOf(value)} as ${field}: only a string is allowed`);
}

function orderingKeyOf(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return Buffer.from(value, "utf8");
  throw new InvalidResult(
    `returned a message with ${typeOf(value)} as orderingKey: a string or bytes (Uint8Array) are allowed`,
  );
}

function propertiesOf(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Map) {
    throw new InvalidResult(
      `returned a message with ${typeOf(value)} as properties: a plain object of strings is allowed`,
    );
  }
  const properties = value as Record<string, unknown>;
  for (const name in properties) {
    if (typeof properties[name] !== "string") {
      throw new InvalidResult(
        `returned a message whose property ${name} is ${typeOf(properties[name])}: properties are strings`,
      );
    }
  }
  return properties as Record<string, string>;
}

function timeOf(field: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const time = value instanceof Date ? value.getTime() : value;
  if (typeof time === "number" && time >= 0 && time <= Number.MAX_SAFE_INTEGER) return Math.floor(time);
  const what = value instanceof Date
    ? "an invalid Date"
    : typeof value === "number"
    ? "such a number"
    : typeOf(value);
  throw new InvalidResult(
    `returned a message with ${what} as ${field}: a Date or milliseconds since 1970 are allowed`,
  );
}
