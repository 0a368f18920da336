// SubscribeToShard without the SDK: bytes as they come over HTTP/1.1 or HTTP/2, with or without TLS, and how the
// stream ended. Frames are taken apart by the SDK's own codec.

import { Buffer } from "node:buffer";
import { request as request1 } from "node:http";
import { type ClientHttp2Session, connect } from "node:http2";
import { request as requestTls } from "node:https";
import type { TestContext } from "node:test";
import { EventStreamCodec } from "@smithy/core/event-streams";
import { destroyLate } from "../../src/core/late-destroy.ts";

/** A way to the server. */
export type Wire = "http/1.1" | "h2c" | "https" | "h2";

/** What came so far. */
export interface RawSubscription {
  /** HTTP status; undefined while there is none, or when there will be none. */
  readonly status: number | undefined;
  readonly contentType: string | undefined;
  readonly pieces: readonly Buffer[];
  /** "open" until the stream is over; then "end", or the error's code. */
  readonly end: string;
  bytes(): Buffer;
}

type State = { -readonly [K in keyof RawSubscription]: RawSubscription[K] } & { pieces: Buffer[] };

/** Sends one SubscribeToShard; `session` carries it over HTTP/2. The connection ends with the test. */
export function subscribeRaw(
  t: TestContext,
  url: string,
  wire: Wire,
  input: object,
  session?: ClientHttp2Session,
): RawSubscription {
  const state: State = {
    status: undefined,
    contentType: undefined,
    pieces: [],
    end: "open",
    bytes: () => Buffer.concat(state.pieces),
  };
  const over = (end: string) => {
    if (state.end === "open") state.end = end;
  };
  const body = JSON.stringify(input);
  const headers = {
    "content-type": "application/x-amz-json-1.1",
    "x-amz-target": "Kinesis_20131202.SubscribeToShard",
  };
  if (wire === "http/1.1" || wire === "https") {
    const send = wire === "https" ? requestTls : request1;
    const call = send(url, { method: "POST", headers, agent: false, rejectUnauthorized: false }, (answer) => {
      state.status = answer.statusCode;
      state.contentType = answer.headers["content-type"];
      answer.on("data", (piece: Buffer) => state.pieces.push(piece));
      answer.on("end", () => over("end"));
      answer.on("error", (error: NodeJS.ErrnoException) => over(error.code ?? error.message));
    });
    call.on("error", (error: NodeJS.ErrnoException) => over(error.code ?? error.message));
    t.after(() => call.destroy());
    call.end(body);
    return state;
  }
  const carrier = session ?? openSession(t, url);
  const call = carrier.request({ ":method": "POST", ":path": "/", ...headers });
  call.on("response", (answer) => {
    state.status = answer[":status"];
    state.contentType = String(answer["content-type"]);
  });
  call.on("data", (piece: Buffer) => state.pieces.push(piece));
  call.on("error", (error: NodeJS.ErrnoException) => over(error.code ?? error.message));
  call.on("end", () => over(call.rstCode === 0 ? "end" : `reset ${call.rstCode}`));
  call.on("close", () => over(`reset ${call.rstCode}`));
  call.end(body);
  return state;
}

/** An HTTP/2 connection; destroyed at the test's end. */
export function openSession(t: TestContext, url: string): ClientHttp2Session {
  const session = destroyLate(connect(url, { rejectUnauthorized: false }));
  session.on("error", () => {}); // its streams tell
  t.after(() => session.destroy());
  return session;
}

/** One frame. */
export interface RawFrame {
  /** Values of all headers, by name. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

/** The whole frames at the beginning of the bytes; throws for one whose checksum is wrong. */
export function framesOf(bytes: Buffer): RawFrame[] {
  const codec = new EventStreamCodec(
    (input) => typeof input === "string" ? input : Buffer.from(input).toString("utf8"),
    (input) => Buffer.from(input),
  );
  const frames: RawFrame[] = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes.readUInt32BE(at);
    if (at + length > bytes.length) break;
    const { headers, body } = codec.decode(bytes.subarray(at, at + length));
    frames.push({
      headers: Object.fromEntries(Object.entries(headers).map(([name, { value }]) => [name, value])),
      body: JSON.parse(Buffer.from(body).toString()),
    });
    at += length;
  }
  return frames;
}
