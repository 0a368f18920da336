// Frames out of a stream that is cut anywhere, and streams that are no frames.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { FrameSplitter } from "../../src/pulsar/wire/splitter.ts";
import { encodeCommand, encodePayloadCommand } from "../../src/pulsar/wire/frames.ts";

const frames = [
  encodeCommand("PING", {}),
  encodeCommand("SUCCESS", { requestId: 300 }),
  encodePayloadCommand("SEND", { producerId: 1, sequenceId: 2 }, Buffer.from("meta"), Buffer.alloc(5000, 7)),
  encodeCommand("ERROR", { requestId: 1, error: 4, message: "x".repeat(500) }),
];

test("pulsar splitter: frames come out whole, however the stream is cut", () => {
  const stream = Buffer.concat([...frames, ...frames]);
  fc.assert(fc.property(fc.array(fc.nat(stream.length), { maxLength: 30 }), (cuts) => {
    const got: string[] = [];
    const splitter = new FrameSplitter((frame) => got.push(frame.toString("hex")));
    let from = 0;
    for (const cut of [...cuts.sort((a, b) => a - b), stream.length]) {
      splitter.push(stream.subarray(from, cut));
      from = cut;
    }
    assert.deepEqual(got, [...frames, ...frames].map((frame) => frame.toString("hex")));
  }));
});

test("pulsar splitter: byte by byte gives the same frames", () => {
  const got: Buffer[] = [];
  const splitter = new FrameSplitter((frame) => got.push(Buffer.from(frame)));
  for (const byte of Buffer.concat(frames)) splitter.push(Buffer.of(byte));
  assert.deepEqual(got, frames);
});

test("pulsar splitter: sizes that no frame has are refused", () => {
  const refuses = (bytes: string, words: RegExp): void => {
    for (const step of [1, 100]) {
      const splitter = new FrameSplitter(() => assert.fail("a frame"));
      const stream = Buffer.from(bytes.replaceAll(" ", ""), "hex");
      assert.throws(() => {
        for (let at = 0; at < stream.length; at += step) splitter.push(stream.subarray(at, at + step));
      }, { code: "PULSAR_PROTOCOL", message: words });
    }
  };
  refuses("00000003 00000000", /3 bytes, which is less/);
  refuses("48545450 2f312e31", /more than the limit/); // "HTTP/1.1"
  refuses("00000009 00000006 0812920100", /a command of 6 bytes in a frame of 9/);
});

test("pulsar splitter: the limit follows the broker's largest message", () => {
  const splitter = new FrameSplitter(() => {});
  splitter.maxFrameSize = 100;
  splitter.push(frames[1]!);
  assert.throws(() => splitter.push(frames[2]!), /more than the limit of 100/);
});
