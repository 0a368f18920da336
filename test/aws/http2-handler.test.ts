// The HTTP/2 handler against a server that does what it is told: shared connections, held-back streams, time limits.

import assert from "node:assert/strict";
import { once } from "node:events";
import {
  createServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import type { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { destroyLate } from "../../src/core/late-destroy.ts";
import { Http2Handler, type Http2HandlerOptions, STREAM_WINDOW_BYTES } from "../../src/aws/http2-handler.ts";

/** Answers by the request's path. */
class Server {
  readonly sessions: ServerHttp2Session[] = [];
  readonly streams: ServerHttp2Stream[] = [];
  readonly bodies: string[] = [];
  readonly #server: Http2Server;
  /** Bytes written to the last flooded stream. */
  written = 0;

  constructor(options: ServerOptions) {
    this.#server = createServer(options);
    this.#server.on("session", (session) => {
      this.sessions.push(destroyLate(session));
      session.on("error", () => {});
    });
    this.#server.on("stream", (stream, headers) => {
      this.streams.push(stream);
      stream.on("error", () => {});
      stream.setEncoding("utf8");
      stream.on("data", (text) => this.bodies.push(String(text)));
      const path = headers[":path"];
      if (path === "/silent") return;
      stream.respond({
        ":status": path === "/refused" ? 400 : 200,
        "x-a": "1",
        "x-method": headers[":method"],
      });
      if (path === "/flood") this.#flood(stream);
      if (path === "/open") stream.write("hello");
      else if (path !== "/flood") stream.end("hello");
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    for (const session of this.sessions) session.destroy();
    this.#server.close();
  }

  #flood(stream: ServerHttp2Stream): void {
    this.written = 0;
    const write = () => {
      while (!stream.destroyed && this.written < 8 * 1024 * 1024) {
        this.written += 16_384;
        if (!stream.write(new Uint8Array(16_384))) return void stream.once("drain", write);
      }
      if (!stream.destroyed) stream.end();
    };
    write();
  }
}

async function start(
  t: TestContext,
  { server: serverOptions = {}, ...options }: Partial<Http2HandlerOptions> & { server?: ServerOptions } = {},
) {
  const server = new Server(serverOptions);
  const port = await server.listen();
  t.after(() => server.close());
  const handler = new Http2Handler({ responseTimeoutMs: 5_000, connectTimeoutMs: 5_000, ...options });
  t.after(() => handler.destroy());
  const send = async (path: string, signal?: AbortSignal) => {
    const { response } = await handler.handle(request(port, path), { abortSignal: signal });
    const body = response.body as Readable;
    body.on("error", () => {});
    return { ...response, body };
  };
  return { server, handler, send, port };
}

function request(port: number, path: string): Parameters<Http2Handler["handle"]>[0] {
  const body = new TextEncoder().encode("{}");
  const headers = { "content-type": "x", ":authority": `127.0.0.1:${port}` };
  const parts = {
    protocol: "http:",
    hostname: "127.0.0.1",
    port,
    path,
    method: "POST",
    headers,
    body,
    query: {},
  };
  return parts as unknown as Parameters<Http2Handler["handle"]>[0];
}

async function textOf(body: Readable): Promise<string> {
  let text = "";
  for await (const chunk of body) text += chunk.toString();
  return text;
}

test("http2 handler: status, headers and body come as they are, errors of the service too", async (t) => {
  const { server, send } = await start(t);
  for (const [path, status] of [["/", 200], ["/refused", 400]] as const) {
    const response = await send(path);
    assert.equal(response.statusCode, status);
    assert.equal(response.headers["x-a"], "1");
    assert.equal(response.headers["x-method"], "POST");
    assert.equal(await textOf(response.body), "hello");
  }
  assert.deepEqual(server.bodies, ["{}", "{}"]);
  assert.equal(server.sessions.length, 1);
});

test("http2 handler: streams share connections, as many as both sides allow", async (t) => {
  for (const [ours, theirs, connections] of [[4, 100, 3], [32, 5, 2], [32, 100, 1]] as const) {
    const { server, send } = await start(t, {
      streamsPerConnection: ours,
      server: { settings: { maxConcurrentStreams: theirs } },
    });
    await Promise.all(Array.from({ length: 10 }, () => send("/open")));
    assert.equal(server.streams.length, 10);
    assert.ok(
      server.sessions.length >= connections && server.sessions.length <= connections + 1,
      `${ours} ${theirs}`,
    );
    for (const session of server.sessions) {
      const open = server.streams.filter((stream) => stream.session === session).length;
      assert.ok(open <= Math.min(ours, theirs), `${open}`);
    }
  }
});

test("http2 handler: a stream that nobody reads holds back itself and not its neighbours", async (t) => {
  const { server, send } = await start(t);
  const stalled = await send("/flood");
  const [first] = await once(stalled.body, "data");
  stalled.body.pause();
  assert.ok(first.length > 0);
  await delay(100);
  const held = server.written;
  // Deno's client opens the window once more before it notices that nobody reads.
  assert.ok(held < 2 * STREAM_WINDOW_BYTES + 256 * 1024, `the server could send ${held} bytes`);
  const other = await send("/flood");
  let bytes = 0;
  other.body.on("data", (chunk) => bytes += chunk.length);
  await once(other.body, "end");
  assert.equal(bytes, 8 * 1024 * 1024);
  assert.equal(server.sessions.length, 1);
  assert.ok(stalled.body.readableLength <= 2 * STREAM_WINDOW_BYTES + 64 * 1024);
});

test("http2 handler: an answer that does not begin ends by its time limit, and its connection gets no new ones", async (t) => {
  const { server, send } = await start(t, { responseTimeoutMs: 1_000 });
  const open = await send("/open");
  await assert.rejects(send("/silent"), { name: "TimeoutError" });
  await send("/open");
  assert.equal(server.sessions.length, 2);
  assert.equal(open.body.destroyed, false, "what it has goes on");
});

test("http2 handler: an abort ends the request and its stream at once", async (t) => {
  const { server, send } = await start(t);
  const stop = new AbortController();
  const { body } = await send("/open", stop.signal);
  const silent = send("/silent", stop.signal);
  while (server.streams.length < 2) await delay(5);
  stop.abort();
  await assert.rejects(silent, { name: "AbortError" });
  assert.ok(body.destroyed);
  await assert.rejects(send("/open", stop.signal), { name: "AbortError" });
  await send("/open");
  assert.equal(server.sessions.length, 1, "an abort says nothing against the connection");
});

test("http2 handler: a connection that breaks fails its streams, and the next request makes another", async (t) => {
  const { server, send } = await start(t);
  const open = await Promise.all([send("/open"), send("/open")]);
  const closed = open.map(({ body }) => body.destroyed ? undefined : once(body, "close"));
  server.sessions[0]!.destroy();
  await Promise.all(closed);
  assert.equal(await textOf((await send("/")).body), "hello");
  assert.equal(server.sessions.length, 2);
});

test("http2 handler: a server that says goodbye keeps its streams and gets no new ones; closing it ends them all", async (t) => {
  const { server, handler, send } = await start(t);
  const { body } = await send("/open");
  server.sessions[0]!.goaway();
  await delay(500);
  await send("/open");
  assert.equal(server.sessions.length, 2);
  assert.equal(body.destroyed, false);
  const closed = once(body, "close");
  handler.destroy();
  await closed;
});

test("http2 handler: what is no HTTP/2 server, or none at all, is an error in time", async (t) => {
  const { handler } = await start(t, { connectTimeoutMs: 200 });
  const mute = createTcpServer(() => {}).listen(0, "127.0.0.1");
  await once(mute, "listening");
  t.after(() => mute.close());
  const { port } = mute.address() as AddressInfo;
  await assert.rejects(handler.handle(request(port, "/")), { name: "TimeoutError" });

  const old = createTcpServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
  }).listen(0, "127.0.0.1");
  await once(old, "listening");
  t.after(() => old.close());
  await assert.rejects(handler.handle(request((old.address() as AddressInfo).port, "/")));

  const closed = createTcpServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const gone = (closed.address() as AddressInfo).port;
  await new Promise((resolve) => closed.close(resolve));
  await assert.rejects(handler.handle(request(gone, "/")), { code: "ECONNREFUSED" });
});
