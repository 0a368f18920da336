// A program of its own for goodbye.test.ts, because what it looks for ends the process: an HTTP/2 client of ours and our
// Kinesis server take in GOAWAY frames with and without open streams, with and without an error in them, beside
// RST_STREAM, over TLS and in clear text, while what came before them makes the client throw streams away.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  connect,
  createSecureServer,
  createServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import process from "node:process";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

import { Http2Handler } from "../../src/aws/http2-handler.ts";
import { destroyLate } from "../../src/core/late-destroy.ts";
import { startLocalKinesis } from "../../src/local/mod.ts";
import { certificateAuthority } from "../servers/certificates.ts";

const INTERNAL_ERROR = 2;
const CANCEL = 8;
/** In which a goodbye arrives and takes effect. */
const GIVEN_MS = 200;

/** What the server says last. */
interface Goodbye {
  /** Streams that are open then. */
  readonly open: number;
  readonly code: number;
  /** The last one that the server says it has seen. @default all */
  readonly lastStreamId?: number;
  /** Ends the streams in the same breath. */
  readonly reset?: boolean;
}

const GOODBYES: readonly Goodbye[] = [
  { open: 0, code: 0 },
  { open: 0, code: INTERNAL_ERROR },
  { open: 3, code: 0 },
  { open: 3, code: 0, lastStreamId: 1 },
  { open: 3, code: INTERNAL_ERROR },
  { open: 3, code: 0, reset: true },
  { open: 3, code: INTERNAL_ERROR, reset: true },
];

type Client = { readonly handler: Http2Handler; readonly bodies: readonly Readable[] };

/** What the client does about the data that comes with the goodbye, most often in one read of its socket. */
const ANSWERS: Readonly<Record<string, (client: Client) => void>> = {
  nothing: () => {},
  "destroys its streams": ({ bodies }) => bodies.forEach((body) => body.destroy()),
  "is closed": ({ handler }) => handler.destroy(),
};

type Identity = { readonly cert: string; readonly key: string; readonly ca: string };

async function clientHears(
  { open, code, lastStreamId, reset }: Goodbye,
  answer: (client: Client) => void,
  identity: Identity | undefined,
): Promise<void> {
  const sessions: ServerHttp2Session[] = [];
  const held: ServerHttp2Stream[] = [];
  const server = identity === undefined ? createServer() : createSecureServer(identity);
  server.on("session", (session: ServerHttp2Session) => {
    sessions.push(destroyLate(session));
    session.on("error", () => {});
  });
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    stream.resume();
    stream.respond({ ":status": 200 });
    if (headers[":path"] === "/open") held.push(stream);
    else stream.end("hello");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const newHandler = () =>
    new Http2Handler({
      responseTimeoutMs: 5_000,
      connectTimeoutMs: 5_000,
      connection: identity === undefined ? {} : { ca: identity.ca },
    });
  const protocol = identity === undefined ? "http:" : "https:";
  const call = async (path: string, by = handler) => {
    const request = { protocol, hostname: "127.0.0.1", port, path, method: "POST", headers: {} };
    const { response } = await by.handle({ ...request, body: "{}" } as never);
    const body = response.body as Readable;
    return body.on("error", () => {});
  };
  const handler = newHandler();
  await once((await call("/")).resume(), "close");
  const bodies: Readable[] = [];
  for (let i = 0; i < open; i++) bodies.push(await call("/open"));
  for (const body of bodies) body.once("data", () => answer({ handler, bodies })).resume();
  for (const stream of held) {
    stream.write("goodbye");
    if (reset) stream.close(CANCEL);
  }
  sessions[0]!.goaway(code, lastStreamId);
  await delay(GIVEN_MS);
  const next = newHandler();
  await once((await call("/", next)).resume(), "close");
  // Over another connection, or, where the goodbye is slow to arrive, in vain.
  if (answer === ANSWERS["nothing"]) await call("/").then((body) => once(body.resume(), "close"), () => {});
  for (const one of [handler, next]) one.destroy();
  server.close();
  await delay(20);
}

async function serverHears(code: number, identity: Identity | undefined): Promise<void> {
  const kinesis = await startLocalKinesis(identity === undefined ? {} : { tls: identity });
  const session = destroyLate(connect(kinesis.url, identity === undefined ? {} : { ca: identity.ca }));
  session.on("error", () => {});
  const call = session.request({ ":path": "/", ":method": "POST" });
  call.on("error", () => {}).resume().end("{}");
  await once(call, "close");
  session.goaway(code);
  await delay(GIVEN_MS);
  session.destroy();
  await kinesis.close();
}

const cleanUps: (() => unknown)[] = [];
const authority = certificateAuthority({ after: (close) => cleanUps.push(close) });
const { certFile, keyFile } = authority.issue({
  name: "localhost",
  alternativeNames: "DNS:localhost,IP:127.0.0.1",
});
const [cert, key, ca] = [certFile, keyFile, authority.caFile].map((file) => readFileSync(file, "utf8")) as [
  string,
  string,
  string,
];
for (const identity of [undefined, { cert, key, ca }]) {
  await Promise.all(GOODBYES.flatMap((goodbye) =>
    Object.entries(ANSWERS).map(async ([name, answer]) => {
      if (goodbye.open > 0 || name === "nothing") await clientHears(goodbye, answer, identity);
    })
  ));
  for (const code of [0, INTERNAL_ERROR]) await serverHears(code, identity);
}
for (const cleanUp of cleanUps) cleanUp();
process.stdout.write("all heard\n");
process.exit(0);
