// A message in the official client's shape, with bytes of its own. What that client would silently change (it hands
// texts on as C strings, and ordering keys as texts) is refused: bytes stay bytes (G3).

import { Buffer, isUtf8 } from "node:buffer";
import { ConnectorError } from "../../core/errors.ts";
import type { SinkMessage } from "../../core/record.ts";
import type { ProducerMessage } from "./api.ts";

/** A copy for the client; or why it cannot be given to it. */
export function nativeMessage(message: SinkMessage): ProducerMessage | ConnectorError {
  const { topic, data, key, orderingKey, properties, eventTime, deliverAt } = message;
  const native: ProducerMessage = { data: Buffer.from(data) };
  if (key !== undefined) {
    if (key.includes("\0")) return cut(topic, "key");
    native.partitionKey = key;
  }
  if (orderingKey !== undefined) {
    if (!isUtf8(orderingKey)) {
      return refused(topic, "an ordering key that is no UTF-8 text, and takes texts only");
    }
    native.orderingKey = Buffer.from(orderingKey).toString();
    if (native.orderingKey.includes("\0")) return cut(topic, "ordering key");
  }
  if (properties !== undefined) {
    for (const name in properties) {
      if (name.includes("\0") || properties[name]!.includes("\0")) return cut(topic, "property");
    }
    native.properties = { ...properties };
  }
  if (eventTime !== undefined && eventTime > 0) native.eventTimestamp = eventTime;
  if (deliverAt !== undefined) native.deliverAt = deliverAt;
  return native;
}

/** Bytes of the payload with its metadata; what a broker counts, but for a few bytes per field. */
export function nativeSize(message: ProducerMessage): number {
  const { data, partitionKey = "", orderingKey = "", properties = {} } = message;
  let size = data.length + Buffer.byteLength(partitionKey) + Buffer.byteLength(orderingKey) + 64;
  for (const name in properties) size += Buffer.byteLength(name) + Buffer.byteLength(properties[name]!) + 8;
  return size;
}

function cut(topic: string, what: string): ConnectorError {
  return refused(topic, `a ${what} with a NUL character, and cuts texts there`);
}

function refused(topic: string, what: string): ConnectorError {
  return new ConnectorError(
    `pulsar-client was given ${what}, for topic ${topic}: change it in a hook, or use pulsar.driver = "builtin"`,
    { code: "PULSAR_REFUSED", where: { topic } },
  );
}
