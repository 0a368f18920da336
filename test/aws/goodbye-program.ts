// A program of its own for goodbye.test.ts, because what it looks for ends the process: an HTTP/2 client of ours and our
// Kinesis server take in GOAWAY frames with and without open streams, with and without an error in them.

import { once } from "node:events";
import { connect, createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import process from "node:process";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

import { Http2Handler } from "../../src/aws/http2-handler.ts";
import { destroyLate } from "../../src/core/late-destroy.ts";
import { startLocalKinesis } from "../../src/local/mod.ts";

const INTERNAL_ERROR = 2;

/** Streams that stay open at a GOAWAY: none, or three. `lastStreamId`: the last one that the server says it has seen. */
const CASES: readonly { readonly open: number; readonly code: number; readonly lastStreamId?: number }[] = [
  { open: 0, code: 0 },
  { open: 0, code: INTERNAL_ERROR },
  { open: 3, code: 0 },
  { open: 3, code: 0, lastStreamId: 1 },
  { open: 3, code: INTERNAL_ERROR },
];

async function clientHears({ open, code, lastStreamId }: typeof CASES[number]): Promise<void> {
  const sessions: ServerHttp2Session[] = [];
  const server = createServer();
  server.on("session", (session) => {
    sessions.push(destroyLate(session));
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    stream.resume();
    stream.respond({ ":status": 200 });
    if (headers[":path"] === "/open") stream.write("hello");
    else stream.end("hello");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const handler = new Http2Handler({ responseTimeoutMs: 5_000, connectTimeoutMs: 5_000 });
  const call = async (path: string) => {
    const request = { protocol: "http:", hostname: "127.0.0.1", port, path, method: "POST", headers: {} };
    const { response } = await handler.handle({ ...request, body: "{}" } as never);
    const body = response.body as Readable;
    body.on("error", () => {});
    return body.resume();
  };
  await once(await call("/"), "close");
  for (let i = 0; i < open; i++) await call("/open");
  sessions[0]!.goaway(code, lastStreamId);
  await delay(50);
  await once(await call("/"), "close"); // over another connection
  handler.destroy();
  server.close();
  await delay(20);
}

async function serverHears(code: number): Promise<void> {
  const kinesis = await startLocalKinesis();
  const session = destroyLate(connect(kinesis.url));
  session.on("error", () => {});
  const call = session.request({ ":path": "/", ":method": "POST" });
  call.on("error", () => {}).resume().end("{}");
  await once(call, "close");
  session.goaway(code);
  await delay(50);
  session.destroy();
  await kinesis.close();
}

for (const one of CASES) await clientHears(one);
for (const code of [0, INTERNAL_ERROR]) await serverHears(code);
process.stdout.write("all heard\n");
process.exit(0);
