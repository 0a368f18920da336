// One request and its answer, over HTTP/1.1 or HTTP/2: bytes to a ServiceRequest, a ServiceReply back. It knows
// nothing of Kinesis. Invariant: the next piece of a stream is asked for only when the one before has left for the
// client, so a client that does not read holds its stream back.

import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { ServiceReply, ServiceRequest } from "./service.ts";
import type { StreamBody } from "./stream-body.ts";

/** A 10 MiB request in base64, with room for its keys. */
const MAX_BODY_BYTES = 20 * 1024 * 1024;

type Request = IncomingMessage | Http2ServerRequest;
/** An answer on its way. */
export type Response = ServerResponse | Http2ServerResponse;

/** What answers requests. */
export type Handler = (request: ServiceRequest) => Promise<ServiceReply>;

/** Breaks the connection of an answer. */
export type Cut = (response: Response) => void;

/** Answers a request; never rejects. */
export function serve(handle: Handler, request: Request, response: Response, cut: Cut): void {
  response.on("error", () => {}); // a client that went away: "close" follows
  answer(handle, request, response, cut).catch(() => cut(response));
}

async function answer(handle: Handler, request: Request, response: Response, cut: Cut): Promise<void> {
  const closing = new AbortController();
  response.on("close", () => closing.abort());
  const body = await readBody(request);
  if (!body) {
    writeHead(response, 413, isHttp2(response) ? {} : { connection: "close" });
    response.end();
    return;
  }
  const reply = await handle({
    method: request.method ?? "",
    path: request.url ?? "/",
    headers: flat(request.headers),
    body,
    signal: closing.signal,
  });
  if (reply.kind === "stream") {
    writeHead(response, reply.status, reply.headers);
    await pour(reply.body, response, closing.signal, cut);
  } else if (reply.kind === "drop") cut(response);
  else if (reply.kind === "refuse") reset(response, constants.NGHTTP2_REFUSED_STREAM);
  else if (reply.kind === "answer" && !closing.signal.aborted) {
    writeHead(response, reply.status, reply.headers);
    for (const chunk of reply.chunks) write(response, chunk);
    response.end();
  }
}

async function pour(body: StreamBody, response: Response, closed: AbortSignal, cut: Cut): Promise<void> {
  // Ends a wait for the next piece, and one for the client to take the last.
  let leave: () => void = () => {};
  const whenGone = new Promise<void>((resolve) => leave = resolve).then(() => body.close());
  closed.addEventListener("abort", leave, { once: true });
  try {
    while (!closed.aborted) {
      const piece = await body.next();
      if (closed.aborted) return;
      if (piece.kind === "bytes") {
        const sent = writeAll(response, piece.chunks);
        await Promise.race([sent, whenGone]);
      } else {
        if (piece.kind === "cut") cut(response);
        else if (piece.kind === "reset") reset(response, constants.NGHTTP2_INTERNAL_ERROR);
        else response.end();
        return;
      }
    }
  } finally {
    closed.removeEventListener("abort", leave);
    leave();
  }
}

// Resolves when the bytes have left for the client.
function writeAll(response: Response, chunks: readonly Uint8Array[]): Promise<void> {
  return new Promise((resolve) => {
    chunks.forEach((chunk, i) =>
      write(response, chunk, i === chunks.length - 1 ? () => resolve() : undefined)
    );
  });
}

function writeHead(response: Response, status: number, headers: Readonly<Record<string, string>>): void {
  if (isHttp2(response)) response.writeHead(status, headers);
  else response.writeHead(status, headers);
}

function write(response: Response, chunk: Uint8Array, sent?: () => void): void {
  if (isHttp2(response)) response.write(chunk, "utf8", sent);
  else response.write(chunk, "utf8", sent);
}

function reset(response: Response, code: number): void {
  if (isHttp2(response)) response.stream?.close(code);
  else response.socket?.destroy();
}

/** Which of the two it is. */
export function isHttp2(response: Response): response is Http2ServerResponse {
  return "stream" in response;
}

// Undefined when it is too long; the rest is read and thrown away, so that the client gets its answer.
async function readBody(request: Request): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  return length <= MAX_BODY_BYTES ? Buffer.concat(chunks) : undefined;
}

// HTTP/2 has the host as a pseudo-header; which of the two names is signed is the client's choice (the SDK: this one).
function flat(headers: Request["headers"]): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    const text = Array.isArray(value) ? value.join(", ") : String(value);
    if (name === ":authority") result[name] = result.host ??= text;
    else if (!name.startsWith(":")) result[name] = text;
  }
  return result;
}
