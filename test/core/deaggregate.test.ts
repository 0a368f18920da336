import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import fc from "fast-check";
import { looksAggregated, readAggregate } from "../../src/core/aggregate.ts";
import { deaggregate } from "../../src/core/deaggregate.ts";
import { md5Words } from "../../src/core/md5.ts";
import type { RawRecord } from "../../src/core/record.ts";
import { FULL_HASH_RANGE, type HashKeyRange } from "../../src/core/shard.ts";
import { Oracle } from "./aggregate-oracle.ts";
import { type AggregateInput, bytesField, encodeAggregate, sealAggregate, varintField } from "./aggregate.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

function raw(data: Uint8Array, more: Partial<RawRecord> = {}): RawRecord {
  return {
    data,
    partitionKey: "container",
    sequenceNumber: "49680476692433014098179508999634594405486341000000000003",
    approximateArrivalTimestamp: 1_795_000_000_123,
    encryptionType: "KMS",
    ...more,
  };
}

const abc: readonly AggregateInput[] = ["a", "b", "c"].map((key) => ({
  partitionKey: key,
  data: bytes(`data of ${key}`),
}));

/** The range that holds the hash of `key` and nothing beyond `width` below and above it. */
function around(key: string, width: bigint): HashKeyRange {
  const hash = BigInt("0x" + createHash("md5").update(key, "utf8").digest("hex"));
  return { startingHashKey: String(hash - width), endingHashKey: String(hash + width) };
}

const userRecords: fc.Arbitrary<AggregateInput[]> = fc.array(
  fc.record({
    partitionKey: fc.oneof(
      fc.constantFrom("a", "b"),
      fc.string({ minLength: 1, maxLength: 80, unit: "grapheme" }),
    ),
    explicitHashKey: fc.option(fc.bigInt(0n, 2n ** 128n - 1n).map(String), { nil: undefined }),
    data: fc.uint8Array({ maxLength: 40 }),
    tags: fc.option(fc.constant([{ key: "k", value: "v" }, { key: "only" }]), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 20 },
);

test("deaggregate: a page without aggregates is returned as it is, not copied", () => {
  const page = [0, 1].map((index) => raw(bytes(`plain ${index}`), { subSequenceNumber: 0, last: true }));
  const result = deaggregate(page, FULL_HASH_RANGE);
  assert.equal(result.records, page);
  assert.deepEqual(result.skipped, []);
});

test("deaggregate: plain records of a reader that sets no subsequence numbers get 0 and last", () => {
  const page = [raw(bytes("x")), raw(new Uint8Array())];
  const { records } = deaggregate(page, FULL_HASH_RANGE);
  assert.deepEqual(records, page.map((record) => ({ ...record, subSequenceNumber: 0, last: true })));
  assert.equal(records[0]!.data, page[0]!.data);
});

test("deaggregate: user records carry their own key, the container's number, time and encryption, and their index", () => {
  const container = raw(encodeAggregate(abc));
  const { records, skipped } = deaggregate([container], FULL_HASH_RANGE);
  assert.deepEqual(
    records.map((record) => ({ ...record, data: text(record.data) })),
    ["a", "b", "c"].map((key, index) => ({
      data: `data of ${key}`,
      partitionKey: key,
      sequenceNumber: container.sequenceNumber,
      approximateArrivalTimestamp: 1_795_000_000_123,
      encryptionType: "KMS",
      subSequenceNumber: index,
      last: index === 2,
    })),
  );
  assert.deepEqual(skipped, []);
});

test("deaggregate: data of user records are views into the page", () => {
  const container = raw(encodeAggregate(abc));
  for (const record of deaggregate([container], FULL_HASH_RANGE).records) {
    assert.equal(record.data.buffer, container.data.buffer);
  }
});

test("deaggregate: plain and aggregated records of a page keep their order", () => {
  const page = [
    raw(bytes("1")),
    raw(encodeAggregate(abc)),
    raw(bytes("2")),
    raw(encodeAggregate(abc.slice(0, 1))),
  ];
  const { records } = deaggregate(page, FULL_HASH_RANGE);
  assert.deepEqual(records.map((record) => text(record.data)), [
    "1",
    "data of a",
    "data of b",
    "data of c",
    "2",
    "data of a",
  ]);
  assert.deepEqual(records.map((record) => record.subSequenceNumber), [0, 0, 1, 2, 0, 0]);
});

test("deaggregate: protobufjs reads what our encoder writes", () => {
  fc.assert(fc.property(userRecords, (input) => {
    const data = encodeAggregate(input);
    const message = Oracle.toObject(Oracle.decode(data.subarray(4, -16)), { longs: Number, arrays: true });
    const got = (message.records as Record<string, unknown>[]).map((record) => ({
      partitionKey: message.partition_key_table[record.partition_key_index as number],
      explicitHashKey: message.explicit_hash_key_table[record.explicit_hash_key_index as number],
      data: [...record.data as Uint8Array],
    }));
    assert.deepEqual(
      got,
      input.map(({ partitionKey, explicitHashKey, data }) => ({
        partitionKey,
        explicitHashKey,
        data: [...data],
      })),
    );
  }));
});

test("deaggregate: what protobufjs packs comes out again, whatever the keys, tags and bytes", () => {
  fc.assert(fc.property(userRecords, (input) => {
    // No shared tables here: one entry per record, and records before the tables they point into.
    const hashed = input.filter((record) => record.explicitHashKey !== undefined);
    const tables = Oracle.encode({
      partition_key_table: input.map((record) => record.partitionKey),
      explicit_hash_key_table: hashed.map((record) => record.explicitHashKey),
    }).finish();
    const entries = Oracle.encode({
      records: input.map((record, index) => ({
        partition_key_index: index,
        data: record.data,
        tags: record.tags ?? [],
        ...(record.explicitHashKey === undefined ? {} : { explicit_hash_key_index: hashed.indexOf(record) }),
      })),
    }).finish();
    const { records } = deaggregate([raw(sealAggregate(Buffer.concat([entries, tables])))], FULL_HASH_RANGE);
    assert.deepEqual(
      records.map((record) => [record.partitionKey, [...record.data]]),
      input.map((record) => [record.partitionKey, [...record.data]]),
    );
  }));
});

test("deaggregate: random damage never throws, and gives the record back untouched or a proper aggregate", () => {
  fc.assert(
    fc.property(
      userRecords,
      fc.array(fc.record({ at: fc.nat(), xor: fc.integer({ min: 1, max: 255 }) }), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.boolean(),
      fc.nat(),
      (input, damages, reseal, cut) => {
        const data = encodeAggregate(input);
        const body = data.slice(4, -16);
        const target = reseal ? body : data;
        for (const { at, xor } of damages) target[at % target.length]! ^= xor;
        const damaged = reseal ? sealAggregate(body.subarray(0, body.length - (cut % 3))) : data;
        const { records, skipped } = deaggregate([raw(damaged)], around("a", 2n ** 127n - 1n));
        assert.ok(records.length + skipped.length > 0);
        if (readAggregate(damaged) === undefined) {
          assert.deepEqual(records, [{ ...raw(damaged), subSequenceNumber: 0, last: true }]);
        }
      },
    ),
    { numRuns: 500 },
  );
});

/** Fields as damage or another version might have them: wrong wire types, huge lengths and indexes, nested anywhere. */
const { body: fieldSoup } = fc.letrec<{ field: Uint8Array; body: Uint8Array }>((tie) => ({
  body: fc.array(tie("field"), { maxLength: 8 }).map((fields) => Buffer.concat(fields)),
  field: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.tuple(fc.integer({ min: 1, max: 4 }), fc.oneof(fc.nat(3), fc.maxSafeNat()))
      .map(([field, value]) => varintField(field, value)),
    fc.tuple(fc.integer({ min: 1, max: 4 }), fc.uint8Array({ maxLength: 12 }))
      .map(([field, value]) => bytesField(field, value)),
    fc.tuple(
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7),
      fc.uint8Array({ maxLength: 9 }),
    )
      .map(([field, type, rest]) => Uint8Array.from([field << 3 | type, ...rest])),
    fc.tuple(fc.integer({ min: 1, max: 4 }), tie("body")).map(([field, value]) => bytesField(field, value)),
  ),
}));

test("deaggregate: fields of any kind in any place never throw and never lose a record's position", () => {
  let aggregates = 0;
  fc.assert(
    fc.property(fc.array(fieldSoup, { minLength: 1, maxLength: 4 }), fc.boolean(), (bodies, isHashed) => {
      const page = bodies.map((body, index) =>
        raw(sealAggregate(body), { sequenceNumber: String(index + 1) })
      );
      const { records, skipped } = deaggregate(page, isHashed ? around("a", 2n ** 126n) : FULL_HASH_RANGE);
      for (const one of page) {
        const parts = records.filter(({ sequenceNumber }) => sequenceNumber === one.sequenceNumber);
        const passed = skipped.filter(({ sequenceNumber }) => sequenceNumber === one.sequenceNumber);
        const parsed = readAggregate(one.data);
        if (parsed === undefined) {
          assert.deepEqual(parts, [{ ...one, subSequenceNumber: 0, last: true }]);
          continue;
        }
        aggregates++;
        assert.equal(passed.length, parts.length === 0 ? 1 : 0);
        if (parts.length > 0) assert.equal(parts.length, parsed.entries.length);
        assert.deepEqual(
          parts.map(({ subSequenceNumber, last }) => [subSequenceNumber, last]),
          parts.map((_, sub) => [sub, sub === parts.length - 1]),
        );
        // A message that the oracle can read has the same records, whatever else is in it.
        const seen = oracleRecords(one.data);
        if (seen !== undefined) assert.deepEqual(parsed.entries.map(({ data }) => [...data]), seen);
      }
    }),
    { numRuns: 2000 },
  );
  assert.ok(aggregates > 200, `only ${aggregates} of them could be read`);
});

/** The data of each record, or undefined where protobufjs, which is stricter about wire types, reads nothing. */
function oracleRecords(data: Uint8Array): number[][] | undefined {
  try {
    const message = Oracle.toObject(Oracle.decode(data.subarray(4, -16)), { arrays: true });
    return (message.records as { data: Uint8Array }[]).map((record) => [...record.data]);
  } catch {
    return undefined;
  }
}

test("deaggregate: bytes that only look like an aggregate pass untouched", () => {
  const good = encodeAggregate(abc);
  const wrongDigest = good.slice();
  wrongDigest[wrongDigest.length - 1]! ^= 1;
  const record = Buffer.concat([varintField(1, 0), bytesField(3, bytes("x"))]);
  const bodies = {
    "cut-off field": Uint8Array.of(0x0a, 0x05, 0x61),
    "field number 0": Uint8Array.of(0x00, 0x01),
    "wire type 7": Uint8Array.of(0x0f),
    "group that never ends": Uint8Array.of(0x2b, 0x08, 0x01),
    "group end without a group": Uint8Array.of(0x2c),
    "varint of 11 bytes": Uint8Array.of(0x28, ...new Array(10).fill(0xff), 0x01),
    "record without data": bytesField(3, varintField(1, 0)),
    "record without key index": bytesField(3, bytesField(3, bytes("x"))),
    "tag without key": bytesField(3, Buffer.concat([record, bytesField(4, bytesField(2, bytes("v")))])),
    "record that ends in the next one": Buffer.concat([Uint8Array.of(0x1a, record.length + 9), record]),
  };
  const cases: [string, Uint8Array][] = [
    ["wrong digest", wrongDigest],
    ["wrong magic", good.map((byte, index) => index === 3 ? 0xc3 : byte)],
    ["magic and digest without a body", sealAggregate(new Uint8Array())],
    ["magic alone", good.slice(0, 4)],
    ...Object.entries(bodies).map(([name, body]): [string, Uint8Array] => [name, sealAggregate(body)]),
  ];
  for (const [name, data] of cases) {
    const { records } = deaggregate([raw(data)], around("never", 0n));
    assert.deepEqual(records, [{ ...raw(data), subSequenceNumber: 0, last: true }], name);
    assert.equal(records[0]!.data, data, name);
  }
  assert.ok(looksAggregated(wrongDigest));
});

test("deaggregate: fields that the format does not know are passed over", () => {
  const body = good(abc);
  const unknown = Uint8Array.of(
    ...varintField(9, 300),
    ...[(10 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8],
    ...[(11 << 3) | 5, 1, 2, 3, 4],
    ...bytesField(12, bytes("?")),
    ...[(13 << 3) | 3, ...varintField(1, 1), (14 << 3) | 3, (14 << 3) | 4, (13 << 3) | 4],
    ...varintField(1, 7), // a known number with another wire type
  );
  const { records } = deaggregate(
    [raw(sealAggregate(Buffer.concat([unknown, body, unknown])))],
    FULL_HASH_RANGE,
  );
  assert.deepEqual(records.map((record) => record.partitionKey), ["a", "b", "c"]);
});

function good(records: readonly AggregateInput[]): Uint8Array {
  return encodeAggregate(records).slice(4, -16);
}

test("deaggregate: one user record outside of the shard's range drops its whole container, which keeps a position", () => {
  const inside: AggregateInput = { partitionKey: "a", data: bytes("in") };
  const page = [
    raw(bytes("first"), { sequenceNumber: "1" }),
    raw(encodeAggregate([inside, { partitionKey: "b", data: bytes("out") }, inside]), {
      sequenceNumber: "2",
    }),
    raw(encodeAggregate([inside, inside]), { sequenceNumber: "3" }),
  ];
  const { records, skipped } = deaggregate(page, around("a", 5n));
  assert.deepEqual(records.map((record) => [record.sequenceNumber, record.subSequenceNumber]), [["1", 0], [
    "3",
    0,
  ], [
    "3",
    1,
  ]]);
  assert.deepEqual(skipped, [
    { sequenceNumber: "2", subSequenceNumber: 2, before: 1, encoded: 3, reason: "outside-range" },
  ]);
});

test("deaggregate: a container without user records keeps a position", () => {
  const empty = sealAggregate(bytesField(1, bytes("unused key")));
  const { records, skipped } = deaggregate(
    [raw(bytes("x")), raw(empty, { sequenceNumber: "8" })],
    FULL_HASH_RANGE,
  );
  assert.equal(records.length, 1);
  assert.deepEqual(skipped, [{
    sequenceNumber: "8",
    subSequenceNumber: 0,
    before: 1,
    encoded: 0,
    reason: "empty",
  }]);
});

test("deaggregate: a shard's range includes both of its ends", () => {
  const [page] = [[raw(encodeAggregate(abc.slice(0, 1)))]];
  const kept = (range: HashKeyRange): number => deaggregate(page, range).records.length;
  const hash = BigInt(around("a", 0n).startingHashKey);
  assert.equal(kept({ startingHashKey: String(hash), endingHashKey: String(hash) }), 1);
  assert.equal(kept({ startingHashKey: String(hash + 1n), endingHashKey: FULL_HASH_RANGE.endingHashKey }), 0);
  assert.equal(kept({ startingHashKey: "0", endingHashKey: String(hash - 1n) }), 0);
});

test("deaggregate: the hash-range rule agrees with big integers for any key and range", () => {
  const bound = fc.bigInt(0n, 2n ** 128n - 1n);
  const key = fc.string({ maxLength: 70, unit: "grapheme" });
  fc.assert(fc.property(key, bound, bound, (partitionKey, a, b) => {
    const range = { startingHashKey: String(a < b ? a : b), endingHashKey: String(a < b ? b : a) };
    const hash = BigInt("0x" + createHash("md5").update(partitionKey, "utf8").digest("hex"));
    const { records } = deaggregate([raw(encodeAggregate([{ partitionKey, data: bytes("x") }]))], range);
    assert.equal(
      records.length === 1,
      hash >= BigInt(range.startingHashKey) && hash <= BigInt(range.endingHashKey),
    );
  }));
});

test("deaggregate: an explicit hash key decides instead of the partition key", () => {
  const range = { startingHashKey: "10", endingHashKey: "20" };
  const kept = (explicitHashKey: string): number =>
    deaggregate([raw(encodeAggregate([{ partitionKey: "a", explicitHashKey, data: bytes("x") }]))], range)
      .records.length;
  assert.deepEqual(
    ["9", "10", "15", "20", "21", "-15", "015", String(2n ** 128n + 15n), "1".repeat(99)].map(kept),
    [
      0,
      1,
      1,
      1,
      0,
      0,
      1,
      0,
      0,
    ],
  );
});

test("deaggregate: the same partition key with and without an explicit hash key is judged by each", () => {
  const inside = around("a", 5n);
  const page = [raw(encodeAggregate([
    { partitionKey: "a", data: bytes("x") },
    { partitionKey: "a", explicitHashKey: "1", data: bytes("x") },
  ]))];
  assert.equal(deaggregate(page, inside).records.length, 0);
});

test("deaggregate: an index without a table entry loses nothing: the container's partition key stands in", () => {
  const entry = (index: number, data: string): Uint8Array =>
    bytesField(3, Buffer.concat([varintField(1, index), bytesField(3, bytes(data))]));
  const body = Buffer.concat([
    bytesField(1, bytes("a")),
    entry(0, "one"),
    entry(7, "two"),
    entry(0, "three"),
  ]);
  const { records, misindexed } = deaggregate([raw(sealAggregate(body))], around("a", 5n));
  assert.deepEqual(
    records.map((record) => [record.partitionKey, text(record.data), record.subSequenceNumber]),
    [
      ["a", "one", 0],
      ["container", "two", 1],
      ["a", "three", 2],
    ],
  );
  assert.equal(misindexed, 1);
});

test("md5: words of short, long and non-ASCII keys equal node:crypto's", () => {
  const words = new Uint32Array(4);
  fc.assert(
    fc.property(
      fc.string({ maxLength: 130, unit: fc.constantFrom("a", "\x00", "\x7f", "é", "😀", "\ud800") }),
      (key) => {
        md5Words(key, words);
        const hex = [...words].map((word) => word.toString(16).padStart(8, "0")).join("");
        assert.equal(hex, createHash("md5").update(key, "utf8").digest("hex"));
      },
    ),
  );
  for (let length = 0; length < 130; length++) {
    md5Words("k".repeat(length), words);
    const hex = [...words].map((word) => word.toString(16).padStart(8, "0")).join("");
    assert.equal(hex, createHash("md5").update("k".repeat(length)).digest("hex"));
  }
});
