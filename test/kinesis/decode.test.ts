// Our reading of GetRecords answers against the SDK's, on the same bytes.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { GetRecordsCommand, type GetRecordsOutput } from "@aws-sdk/client-kinesis";
import fc from "fast-check";
import { type GetRecordsPage, PageDecoder } from "../../src/kinesis/decode.ts";
import { type Answer, apiOn, sdkOn } from "./transport.ts";

const signal = new AbortController().signal;

/** A whole answer at once. */
function decodePage(body: Uint8Array): GetRecordsPage {
  const decoder = new PageDecoder();
  decoder.push(body);
  return decoder.end();
}

/** The SDK's output in our terms. */
function asPage(output: GetRecordsOutput): GetRecordsPage {
  const records = (output.Records ?? []).map((record) => ({
    data: Buffer.from(record.Data!),
    partitionKey: record.PartitionKey!,
    sequenceNumber: record.SequenceNumber!,
    approximateArrivalTimestamp: record.ApproximateArrivalTimestamp?.getTime() ?? 0,
    encryptionType: record.EncryptionType === "KMS" ? "KMS" as const : "NONE" as const,
    subSequenceNumber: 0,
    last: true,
  }));
  return {
    records,
    bytes: records.reduce((sum, record) => sum + record.data.length, 0),
    millisBehindLatest: output.MillisBehindLatest ?? 0,
    nextShardIterator: output.NextShardIterator,
    childShards: (output.ChildShards ?? []).map((child) => ({
      shardId: child.ShardId!,
      parentShardIds: child.ParentShards ?? [],
      startingHashKey: child.HashKeyRange!.StartingHashKey!,
      endingHashKey: child.HashKeyRange!.EndingHashKey!,
    })),
  };
}

const digits = fc.bigInt({ min: 0n, max: 2n ** 186n }).map(String);
const record = fc.record({
  SequenceNumber: digits,
  // Seconds with milliseconds, as Kinesis sends them, and with more digits.
  ApproximateArrivalTimestamp: fc.oneof(
    fc.integer({ min: 0, max: 4_000_000_000_000 }).map((ms) => ms / 1000),
    fc.integer({ min: 0, max: 4_000_000_000 }),
    fc.double({ min: 0, max: 4e9, noNaN: true }),
  ),
  Data: fc.uint8Array({ maxLength: 5000 }).map((bytes) => Buffer.from(bytes).toString("base64")),
  PartitionKey: fc.string({ unit: "binary", minLength: 1, maxLength: 256 }),
  EncryptionType: fc.constantFrom("NONE", "KMS"),
}, { requiredKeys: ["SequenceNumber", "Data", "PartitionKey", "ApproximateArrivalTimestamp"] });
const child = fc.record({
  ShardId: fc.nat(100_000).map((id) => `shardId-${String(id).padStart(12, "0")}`),
  ParentShards: fc.array(fc.string(), { maxLength: 2 }),
  HashKeyRange: fc.record({ StartingHashKey: digits, EndingHashKey: digits }),
});
const page = fc.record({
  Records: fc.array(record, { maxLength: 20 }),
  NextShardIterator: fc.oneof(fc.string({ minLength: 1 }), fc.constant(null)),
  MillisBehindLatest: fc.nat(86_400_000),
  ChildShards: fc.oneof(fc.array(child, { maxLength: 2 }), fc.constant(null)),
}, { requiredKeys: ["Records"] });

function chunked(body: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let start = 0;
  for (const size of sizes) {
    if (start >= body.length) break;
    chunks.push(body.subarray(start, start + size));
    start += size;
  }
  return [...chunks, body.subarray(start)].filter((chunk) => chunk.length > 0);
}

test("kinesis decode: gives what the SDK gives, on random pages in random chunks", async (t) => {
  let answer: Answer = { body: "{}" };
  const sdk = sdkOn(t, () => answer);
  const api = await apiOn(t, () => answer);
  const sizes = fc.array(fc.integer({ min: 1, max: 4000 }), { maxLength: 10 });
  await fc.assert(
    fc.asyncProperty(page, sizes, async (wire, chunkSizes) => {
      answer = { body: chunked(Buffer.from(JSON.stringify(wire)), chunkSizes) };
      const theirs = asPage(await sdk.send(new GetRecordsCommand({ ShardIterator: "i" })));
      assert.deepEqual(await api.getRecords("shard", "i", 100, signal), theirs);
    }),
    { numRuns: 200 },
  );
});

test("kinesis decode: a page of 10 MiB and one without anything are as the SDK's", async (t) => {
  const data = Buffer.alloc(1024 * 1024, 0xf1).toString("base64");
  const large = {
    Records: Array.from({ length: 10 }, (_, index) => ({
      SequenceNumber: `4959033827149025660855969253836157109592157598913658889${index}`,
      ApproximateArrivalTimestamp: 1.7e9 + index / 1000,
      Data: data,
      PartitionKey: "k",
    })),
    MillisBehindLatest: 0,
  };
  for (const wire of [large, { Records: [] }]) {
    const answer = { body: JSON.stringify(wire) };
    const theirs = await sdkOn(t, () => answer).send(new GetRecordsCommand({ ShardIterator: "i" }));
    const ours = await (await apiOn(t, () => answer)).getRecords("shard", "i", 100, signal);
    assert.deepEqual(ours, asPage(theirs));
  }
});

test("kinesis decode: a small record in flight does not hold its page in memory", () => {
  const small = { SequenceNumber: "1", PartitionKey: "k", ApproximateArrivalTimestamp: 1 };
  const wire = {
    Records: [
      { ...small, Data: Buffer.alloc(10, 1).toString("base64") },
      { ...small, Data: Buffer.alloc(1_000_000, 2).toString("base64") },
    ],
  };
  const { records, bytes } = decodePage(Buffer.from(JSON.stringify(wire)));
  assert.equal(bytes, 1_000_010);
  assert.ok(records[0]!.data.buffer.byteLength < 70_000);
});

test("kinesis decode: what is no JSON is an error, not an empty page", () => {
  assert.throws(() => decodePage(Buffer.from("<html>")), SyntaxError);
  const cut = Buffer.from('{"Records":[{"Data":"c2VjcmV0');
  assert.throws(() => decodePage(cut), {
    name: "SyntaxError",
    message: "the answer of 29 bytes is no complete JSON",
  });
});

/** JSON as another server might write it: blanks anywhere, characters escaped that need not be, any order. */
function writeOddly(value: unknown, odd: () => number): string {
  const blank = () => " \n\t\r".slice(0, Math.max(0, odd() - 3));
  const escaped = (text: string) =>
    Array.from(JSON.stringify(text).slice(1, -1).matchAll(/\\u....|\\.|[^]/gu), ([part]) => {
      if (part[0] === "\\" || odd() > 1) return part;
      if (part === "/") return "\\/";
      return part.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
    }).join("");
  const write = (one: unknown): string => {
    if (typeof one === "string") return `"${escaped(one)}"`;
    if (Array.isArray(one)) return `[${one.map((item) => blank() + write(item) + blank()).join(",")}]`;
    if (one === null || typeof one !== "object") return JSON.stringify(one);
    const members = Object.entries(one).sort(() => odd() - 4);
    return `{${
      members.map(([name, item]) => `${blank()}${write(name)}${blank()}:${blank()}${write(item)}`)
    }}`;
  };
  return blank() + write(value) + blank();
}

test("kinesis decode: blanks, escapes, orders and members nobody asked for change nothing", () => {
  const unknown = fc.jsonValue({ maxDepth: 3 });
  const odd = fc.infiniteStream(fc.integer({ min: 0, max: 8 }));
  fc.assert(fc.property(page, unknown, odd, (wire, extra, choices) => {
    const withExtra = {
      ...wire,
      Extra: extra,
      Records: wire.Records.map((one) => ({ ...one, Extra: extra })),
    };
    const text = writeOddly(withExtra, () => choices.next().value);
    assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(withExtra)));
    assert.deepEqual(decodePage(Buffer.from(text)), decodePage(Buffer.from(JSON.stringify(wire))));
  }));
});

test("kinesis decode: an answer may be cut anywhere, and nothing is said before its end", () => {
  const wire = {
    MillisBehindLatest: 12,
    Records: [
      {
        Data: "aGFsbG8=",
        PartitionKey: 'ä"\\\u2028',
        SequenceNumber: "1",
        ApproximateArrivalTimestamp: 1.5e9,
      },
      { Data: "", PartitionKey: "k", SequenceNumber: "2", EncryptionType: "KMS", Extra: [{ "]}": null }] },
    ],
    NextShardIterator: "next",
  };
  const body = Buffer.from(JSON.stringify(wire, undefined, 1));
  const whole = decodePage(body);
  assert.equal(whole.records[0]!.data.toString(), "hallo");
  assert.equal(whole.records[1]!.encryptionType, "KMS");
  for (let cut = 0; cut < body.length; cut++) {
    const decoder = new PageDecoder();
    decoder.push(body.subarray(0, cut));
    decoder.push(body.subarray(cut));
    assert.deepEqual(decoder.end(), whole, `cut at ${cut}`);
    assert.throws(() => decodePage(body.subarray(0, cut)), SyntaxError, `nothing after ${cut}`);
  }
});

test("kinesis decode: records of every size between a byte and megabytes, in small chunks", () => {
  const sizes = [0, 1, 2, 3, 8191, 8192, 8193, 18_432, 65_536, 100_000, 300_001, 1_000_000, 5, 6];
  const data = sizes.map((size) => Buffer.alloc(size, `${size}-`));
  const body = Buffer.from(JSON.stringify({
    Records: data.map((one, index) => ({
      Data: one.toString("base64"),
      PartitionKey: "k",
      SequenceNumber: `${index}`,
    })),
  }));
  const decoder = new PageDecoder();
  for (let at = 0; at < body.length; at += 1447) decoder.push(body.subarray(at, at + 1447));
  const { records } = decoder.end();
  assert.equal(records.length, sizes.length);
  records.forEach((one, index) => assert.ok(data[index]!.equals(one.data), `${sizes[index]}`));
});

test("kinesis decode: what is nearly JSON is refused", () => {
  const record = '{"Data":"QUJD","PartitionKey":"k","SequenceNumber":"1"}';
  for (
    const text of [
      "",
      "null",
      "[]",
      '"x"',
      "{",
      "{}}",
      "{} x",
      '{"Records":[}',
      '{"Records":[1]}',
      `{"Records":[${record},]}`,
      `{"Records":[${record} ${record}]}`,
      `{"Records":[${record}]]}`,
      `{"Records":[${record}],}`,
      '{"Records":[{"Data":"QU\nJD"}]}',
      '{"Records":[{"PartitionKey":"a\tb"}]}',
      '{"Records":[{"PartitionKey":7}]}',
      '{"MillisBehindLatest":1.2.3}',
      '{"MillisBehindLatest":"x}',
      "{MillisBehindLatest:1}",
    ]
  ) {
    assert.throws(() => decodePage(Buffer.from(text)), SyntaxError, text);
  }
});
