// The codec against the specification's golden frames and against protobufjs on random commands.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { crc32c } from "../../src/pulsar/wire/crc32c.ts";
import { type CommandFields, type CommandName, COMMANDS } from "../../src/pulsar/wire/commands.ts";
import { decodeCommand, encodeCommand, encodePayloadCommand } from "../../src/pulsar/wire/frames.ts";
import { MessageMetadata, SingleMessageMetadata } from "../../src/pulsar/wire/metadata.ts";
import { decodeShape, encodeShape } from "../../src/pulsar/wire/shape.ts";
import { readReceipt } from "../../src/pulsar/wire/receipt.ts";
import { FieldReader, writeVarint } from "../../src/pulsar/wire/protobuf.ts";
import { decodeByOracle, fieldsArbitrary, messageType, plain } from "./oracle.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "hex");
function frameOf(command: string): Buffer {
  const body = hex(command);
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32BE(body.length + 4, 0);
  sizes.writeUInt32BE(body.length, 4);
  return Buffer.concat([sizes, body]);
}
const NAMES = Object.keys(COMMANDS) as CommandName[];

test("pulsar wire: CRC-32C has Castagnoli's check value, at any split", () => {
  const digits = Buffer.from("123456789");
  assert.equal(crc32c(digits), 0xe3069283);
  for (let at = 0; at <= 9; at++) {
    assert.equal(crc32c(digits, at, 9, crc32c(digits, 0, at)), 0xe3069283, `split at ${at}`);
  }
});

test("pulsar wire: CRC-32C equals the bitwise definition on random bytes", () => {
  const bitwise = (bytes: Uint8Array): number => {
    let crc = -1;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    }
    return ~crc >>> 0;
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => crc32c(bytes) === bitwise(bytes)));
});

test("pulsar wire: PING, PONG and CONNECT are the golden frames", () => {
  assert.deepEqual(encodeCommand("PING", {}), hex("00000009 00000005 0812920100"));
  assert.deepEqual(encodeCommand("PONG", {}), hex("00000009 00000005 08139a0100"));
  assert.deepEqual(
    encodeCommand("CONNECT", {
      clientVersion: "x",
      protocolVersion: 20,
      authMethodName: "none",
      featureFlags: { supportsAuthRefresh: true },
    }),
    hex("00000017 00000013 0802120f0a017820142a046e6f6e6552020801"),
  );
});

test("pulsar wire: SEND of a batch is the golden frame", () => {
  const single = (
    fields: Parameters<typeof encodeShape<typeof SingleMessageMetadata>>[1],
    text: string,
  ): Buffer => {
    const metadata = encodeShape(SingleMessageMetadata, fields);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(metadata.length);
    return Buffer.concat([size, metadata, Buffer.from(text)]);
  };
  const payload = Buffer.concat([
    single(
      { properties: [{ key: "a", value: "b" }], partitionKey: "k", payloadSize: 5, sequenceId: 5 },
      "hello",
    ),
    single({ payloadSize: 5, sequenceId: 6 }, "world"),
  ]);
  const metadata = encodeShape(MessageMetadata, {
    producerName: "p",
    sequenceId: 5,
    publishTime: 1700000000000,
    uncompressedSize: payload.length,
    numMessagesInBatch: 2,
    highestSequenceId: 6,
  });
  const fields = { producerId: 1, sequenceId: 5, numMessages: 2, highestSequenceId: 6 };
  assert.deepEqual(
    encodePayloadCommand("SEND", fields, metadata, payload),
    hex(`00000052 0000000c 080632080801100518023006 0e01 b0c928ac 00000013
         0a017010051880d095ffbc3148255802c00106
         0000000f 0a060a016112016212016b18054005 68656c6c6f  00000004 18054006 776f726c64`),
  );
});

test("pulsar wire: protobufjs reads every command that we write", () => {
  for (const name of NAMES) {
    const type = messageType("BaseCommand").fields[name]!.resolve().resolvedType as ReturnType<
      typeof messageType
    >;
    fc.assert(
      fc.property(fieldsArbitrary(type), (values) => {
        const frame = encodeCommand(name, values as unknown as CommandFields<typeof name>);
        assert.equal(frame.readUInt32BE(0), frame.length - 4);
        assert.equal(frame.readUInt32BE(4), frame.length - 8);
        const read = decodeByOracle("BaseCommand", frame.subarray(8));
        assert.equal(read["type"], COMMANDS[name].type);
        assert.deepEqual(plain(withoutEmpty(read[name])), plain(withoutEmpty(values)), name);
      }),
      { numRuns: 30 },
    );
  }
});

test("pulsar wire: we read every command that protobufjs writes", () => {
  const base = messageType("BaseCommand");
  for (const name of NAMES) {
    const type = base.fields[name]!.resolve().resolvedType as ReturnType<typeof messageType>;
    fc.assert(
      fc.property(fieldsArbitrary(type), (values) => {
        const body = base.encode(base.fromObject({ type: COMMANDS[name].type, [name]: values })).finish();
        const frame = Buffer.concat([Buffer.alloc(8), body]);
        frame.writeUInt32BE(frame.length - 4, 0);
        frame.writeUInt32BE(body.length, 4);
        const command = decodeCommand(frame)!;
        assert.equal(command.name, name);
        const read = plain(command) as Record<string, unknown>;
        for (const [field, value] of Object.entries(plain(values) as Record<string, unknown>)) {
          assert.deepEqual(contained(read[field], value), value, `${name}.${field}`);
        }
      }),
      { numRuns: 30 },
    );
  }
});

test("pulsar wire: defaults stand in for missing fields, unknown fields and commands are skipped", () => {
  const success = decodeCommand(frameOf("0811 8a0105 0801 12016e"));
  assert.deepEqual(success, {
    name: "PRODUCER_SUCCESS",
    requestId: 1,
    producerName: "n",
    lastSequenceId: -1,
    producerReady: true,
  });
  const withMore = frameOf("080d 6a0a 0807 f80705 fa07026869");
  assert.deepEqual(decodeCommand(withMore), { name: "SUCCESS", requestId: 7 });
  assert.equal(decodeCommand(frameOf("0864 a20600")), undefined);
});

test("pulsar wire: a command without a required field is refused", () => {
  assert.throws(() => decodeCommand(frameOf("080d 6a00")), { code: "PULSAR_PROTOCOL", message: /requestId/ });
});

test("pulsar wire: broken fields are refused, never read past the end", () => {
  for (
    const bytes of ["08", "0aff", "0a05aa", "00", "0c", "08ffffffffffffffffffff01", "0d0000", "09000000"]
  ) {
    const reader = new FieldReader(hex(bytes));
    assert.throws(
      () => {
        while (reader.next()) continue;
      },
      { code: "PULSAR_PROTOCOL" },
      bytes,
    );
  }
});

test("pulsar wire: integers survive up to 2^53, and −1 in all forms", () => {
  const buffer = Buffer.alloc(10);
  const roundTrip = (value: number, signed: boolean): number => {
    const message = Buffer.concat([hex("08"), buffer.subarray(0, writeVarint(buffer, 0, value))]);
    const reader = new FieldReader(message);
    assert.ok(reader.next());
    return signed ? reader.int() : reader.uint();
  };
  fc.assert(fc.property(fc.maxSafeInteger(), (value) => roundTrip(value, true) === value));
  fc.assert(fc.property(fc.maxSafeNat(), (value) => roundTrip(value, false) === value));
  assert.equal(roundTrip(-1, false), -1, "2^64 − 1 is −1");
});

test("pulsar wire: the receipt's fast path reads what the table reads", () => {
  const receipt = { producerId: 0, sequenceId: 0, ledgerId: 0 };
  const ids = fc.record({
    producerId: fc.maxSafeNat(),
    sequenceId: fc.maxSafeNat(),
    ledgerId: fc.maxSafeNat(),
  });
  fc.assert(fc.property(ids, ({ producerId, sequenceId, ledgerId }) => {
    const messageId = { ledgerId, entryId: 3 };
    readReceipt(encodeCommand("SEND_RECEIPT", { producerId, sequenceId, messageId }), receipt);
    assert.deepEqual(receipt, { producerId, sequenceId, ledgerId });
  }));
  const messageId = { ledgerId: -1, entryId: -1 };
  readReceipt(encodeCommand("SEND_RECEIPT", { producerId: 1, sequenceId: 2, messageId }), receipt);
  assert.equal(receipt.ledgerId, -1, "a duplicate");
});

test("pulsar wire: lone surrogates are written as U+FFFD", () => {
  for (const text of ["a\ud800b", "\udfff".repeat(50), "x".repeat(60) + "\ud800"]) {
    const encoded = encodeShape(SingleMessageMetadata, { payloadSize: 0, partitionKey: text });
    assert.equal(decodeShape(SingleMessageMetadata, encoded).partitionKey, Buffer.from(text).toString());
  }
});

/** protobufjs gives an empty array for every repeated field. */
function withoutEmpty(value: unknown): unknown {
  if (value instanceof Uint8Array || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutEmpty);
  const kept = Object.entries(value).filter(([, inner]) => !(Array.isArray(inner) && inner.length === 0));
  return Object.fromEntries(
    kept.map((
      [name, inner],
    ) => [name, inner instanceof Uint8Array && inner.length === 0 ? [] : withoutEmpty(inner)])
      .filter(([, inner]) => !(Array.isArray(inner) && inner.length === 0)),
  );
}

/** What `read` says for the fields that `wanted` has: reading adds defaults in nested messages. */
function contained(read: unknown, wanted: unknown): unknown {
  if (Array.isArray(wanted)) return wanted.map((item, index) => contained((read as unknown[])[index], item));
  if (typeof wanted !== "object" || wanted === null) return read;
  const found = read as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(wanted).map(([name, item]) => [name, contained(found[name], item)]),
  );
}
