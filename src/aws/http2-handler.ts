// HTTP/2 for calls whose answers last for minutes (SubscribeToShard). Many streams share a connection, because a TLS
// session costs more memory than a subscription. Invariants: an answer begins within its time limit; a stream that
// nobody reads holds back itself and never its neighbours; a connection that failed a stream gets no new ones.

import { Buffer } from "node:buffer";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  connect,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from "node:http2";
import type { NodeHttp2Handler } from "@smithy/node-http-handler";
import { destroyLate } from "../core/late-destroy.ts";
import { untilAborted } from "../core/until-aborted.ts";

type Handle = NodeHttp2Handler["handle"];
type Request = Parameters<Handle>[0];

/** Options of an {@link Http2Handler}. */
export interface Http2HandlerOptions {
  /** From the request to the head of its answer, milliseconds. What follows has no limit here. */
  readonly responseTimeoutMs: number;
  /** Until a connection stands, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Streams of one connection; the server may allow fewer. @default 32 */
  readonly streamsPerConnection?: number | undefined;
  /** Further options of `node:http2`'s connect, e.g. certificate authorities. */
  readonly connection?: ClientSessionOptions | SecureClientSessionOptions | undefined;
}

/**
 * What may arrive of a stream that nobody reads. A shard gives 2 MiB per second, so this is enough for a server that is
 * 120 ms away; larger ones would only be memory.
 */
export const STREAM_WINDOW_BYTES = 256 * 1024;
const STREAMS_PER_CONNECTION = 32;

/** A request handler of the AWS SDK. */
export class Http2Handler {
  readonly metadata: { readonly handlerProtocol: "h2" } = { handlerProtocol: "h2" };
  readonly #options: Http2HandlerOptions;
  readonly #connections = new Map<string, SharedConnection[]>();
  #destroyed = false;

  constructor(options: Http2HandlerOptions) {
    this.#options = options;
  }

  async handle(request: Request, { abortSignal }: { abortSignal?: unknown } = {}): ReturnType<Handle> {
    const signal = abortSignal instanceof AbortSignal ? abortSignal : new AbortController().signal;
    const { protocol, hostname, port } = request;
    const leasing = this.#lease(`${protocol}//${hostname}${port ? `:${port}` : ""}`);
    const connection = await untilAborted(leasing, signal);
    if (signal.aborted) {
      leasing.then((late) => late.release(), () => {}); // whoever waited for it is gone
      throw aborted();
    }
    return await this.#answer(connection!, open(connection!, request), signal);
  }

  destroy(): void {
    this.#destroyed = true;
    for (const connection of [...this.#connections.values()].flat()) connection.session.destroy();
    this.#connections.clear();
  }

  updateHttpClientConfig(): void {}

  httpHandlerConfigs(): Record<string, never> {
    return {};
  }

  /** A connection with room for one more stream, which is counted from now on. */
  async #lease(origin: string): Promise<SharedConnection> {
    for (;;) {
      if (this.#destroyed) throw Object.assign(new Error("the client is closed"), { code: "ECONNABORTED" });
      // Those that take no new streams stay in the list while they have some: destroy() has to end them, too.
      const connections = (this.#connections.get(origin) ?? []).filter(({ session }) => !session.destroyed);
      this.#connections.set(origin, connections);
      let connection = connections.find((one) => one.isOpen && one.hasRoom);
      if (connection === undefined) {
        connection = new SharedConnection(origin, this.#options);
        connections.push(connection);
      }
      connection.retain();
      try {
        await connection.ready;
      } catch (error) {
        connection.release();
        throw error;
      }
      if (connection.isOpen && !connection.isOverfull) return connection;
      connection.release(); // only now the server has said how many it takes
    }
  }

  /** Knows nothing of the request: what its listeners know is kept in memory for as long as the stream lasts. */
  #answer(connection: SharedConnection, stream: ClientHttp2Stream, signal: AbortSignal): ReturnType<Handle> {
    const { responseTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const abort = () => stream.destroy(aborted());
      const timer = setTimeout(
        () => stream.destroy(timeout("no answer", responseTimeoutMs)),
        responseTimeoutMs,
      );
      signal.addEventListener("abort", abort, { once: true });
      stream.on("error", (error) => {
        if (!signal.aborted) connection.retire();
        reject(error);
      });
      stream.once("response", (responseHeaders) => {
        clearTimeout(timer);
        const statusCode = Number(responseHeaders[":status"]);
        const response = { statusCode, headers: plainHeaders(responseHeaders), body: stream };
        resolve({ response } as unknown as Awaited<ReturnType<Handle>>);
      });
      stream.once("close", () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        connection.release();
        reject(
          Object.assign(new Error("the connection was closed without an answer"), { code: "ECONNRESET" }),
        );
      });
    });
  }
}

/** Sends a request. */
function open(connection: SharedConnection, { path, method, headers, body }: Request): ClientHttp2Stream {
  try {
    const bytes = bytesOf(body as string | Uint8Array);
    const stream = connection.session.request({ ...headers, ":path": path, ":method": method });
    stream.end(bytes);
    return stream;
  } catch (error) { // the connection went away a moment ago
    connection.retire();
    connection.release();
    throw error;
  }
}

/** One HTTP/2 session with the number of streams that use it. */
class SharedConnection {
  readonly session: ClientHttp2Session;
  /** Rejects when it cannot be made. */
  readonly ready: Promise<void>;
  #mostStreams: number;
  #streams = 0;
  #retired = false;

  constructor(origin: string, options: Http2HandlerOptions) {
    const { connectTimeoutMs, streamsPerConnection = STREAMS_PER_CONNECTION } = options;
    this.#mostStreams = streamsPerConnection;
    const session = this.session = destroyLate(connect(origin, {
      ...options.connection,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
    }));
    session.once("connect", () => {
      // Room for all streams together, so that those which nobody reads leave some to the others.
      session.setLocalWindowSize((streamsPerConnection + 1) * STREAM_WINDOW_BYTES);
    });
    const retire = () => this.retire();
    for (const event of ["goaway", "frameError", "error", "close"]) session.on(event, retire);
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => session.destroy(timeout("no connection", connectTimeoutMs)),
        connectTimeoutMs,
      );
      session.once("remoteSettings", ({ maxConcurrentStreams = Infinity }) => {
        clearTimeout(timer);
        this.#mostStreams = Math.max(1, Math.min(streamsPerConnection, maxConcurrentStreams));
        resolve();
      });
      session.once("error", (error) => reject(notHttp2(error, origin)));
      session.once("close", () => {
        clearTimeout(timer);
        reject(Object.assign(new Error("the connection was closed"), { code: "ECONNRESET" }));
      });
    });
    this.ready.catch(() => {}); // whoever waits for it is told
  }

  get isOpen(): boolean {
    return !this.#retired && !this.session.closed && !this.session.destroyed;
  }

  get hasRoom(): boolean {
    return this.#streams < this.#mostStreams;
  }

  get isOverfull(): boolean {
    return this.#streams > this.#mostStreams;
  }

  /** One more stream, and the process lives as long as it. */
  retain(): void {
    this.#streams++;
    if (!this.session.destroyed) this.session.ref();
  }

  release(): void {
    this.#streams--;
    if (this.#streams > 0 || this.session.destroyed) return;
    if (this.#retired) this.session.close();
    else this.session.unref();
  }

  /** Takes no new streams; those that it has go on. */
  retire(): void {
    this.#retired = true;
    if (this.#streams === 0 && !this.session.destroyed) this.session.close();
  }
}

/** The SDK's bytes are of a class of their own, whose conversions warn. */
function bytesOf(body: string | Uint8Array): Buffer {
  return typeof body === "string"
    ? Buffer.from(body)
    : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

function plainHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const plain: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(":") && value !== undefined) {
      plain[name] = Array.isArray(value) ? value.join(", ") : value;
    }
  }
  return plain;
}

/** Servers that have HTTP/1.1 only break off in words that nobody understands. */
function notHttp2(error: Error & { readonly code?: string }, origin: string): Error {
  const code = error.code ?? "";
  if (!/^ERR_(HTTP2|SSL_TLSV1_ALERT_NO_APPLICATION)/.test(code)) return error;
  return Object.assign(new Error(`${origin} seems to have no HTTP/2 (${error.message})`, { cause: error }), {
    code,
  });
}

function timeout(what: string, ms: number): Error {
  const error = new Error(`${what} within ${ms} ms`);
  error.name = "TimeoutError";
  return error;
}

function aborted(): Error {
  const error = new Error("the request was aborted");
  error.name = "AbortError";
  return error;
}
