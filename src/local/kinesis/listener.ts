// Where the server listens: one port for HTTP/1.1 and HTTP/2. Without TLS a connection's first bytes tell which (the
// preface "PRI * HTTP/2.0", i.e. prior knowledge), with TLS its bytes too, after ALPN has offered both. Invariant:
// listens on loopback addresses only.

import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer as createHttp1 } from "node:http";
import { createServer as createHttp2, type ServerHttp2Session } from "node:http2";
import { type AddressInfo, createServer as createPlain, type Server, type Socket } from "node:net";
import { createServer as createTls } from "node:tls";
import { ConnectorError } from "../../core/errors.ts";
import { destroyLate } from "../../core/late-destroy.ts";
import { type Handler, isHttp2, type Response, serve } from "./exchange.ts";

/** Idle connections stay open as long as AWS's: node's five seconds surprise clients that poll slowly. */
const KEEP_ALIVE_MS = 65_000;
const HTTP2_SESSION_MB = 1_000;
const PREFACE = "PRI";

/** A certificate and its key, PEM. */
export interface TlsIdentity {
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
}

/** Where to listen. */
export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsIdentity | undefined;
}

/** A listening transport. */
export interface Listener {
  readonly port: number;
  /** While false, every connection is broken at once, also those that are open. */
  setReachable(reachable: boolean): void;
  /** Asks HTTP/2 clients to take another connection for further requests (GOAWAY); open ones go on. */
  goAway(): void;
  /** Closes all connections, also those that wait for an answer. */
  close(): Promise<void>;
}

/** @throws ConnectorError CONFIG_INVALID for an address that is not loopback, a port that is taken, a bad certificate */
export async function listen(handle: Handler, options: ListenOptions): Promise<Listener> {
  requireLoopback(options.host);
  // HTTP/2 hides its socket, and ends streams in good order when its session is destroyed: not what a cut is.
  const socketOf = new WeakMap<ServerHttp2Session, Socket>();
  const cut = (response: Response) => {
    if (!isHttp2(response)) response.socket?.destroy();
    else if (response.stream?.session) socketOf.get(response.stream.session as ServerHttp2Session)?.destroy();
  };
  const http1 = createHttp1((request, response) => serve(handle, request, response, cut));
  http1.keepAliveTimeout = KEEP_ALIVE_MS;
  // With Node's 10 MB, subscriptions that nobody reads would make it refuse their neighbours (ENHANCE_YOUR_CALM).
  const http2 = createHttp2(
    { maxSessionMemory: HTTP2_SESSION_MB },
    (request, response) => serve(handle, request, response, cut),
  );
  const sessions = new Set<ServerHttp2Session>();
  let accepted: Socket;
  http2.on("session", (session) => {
    destroyLate(session);
    socketOf.set(session, accepted);
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  // What breaks a connection is the client's to see; without listeners it would end the process.
  http1.on("clientError", (_, socket) => socket.destroy());
  http2.on("sessionError", () => {});
  const sockets = new Set<Socket>();
  let isReachable = true;
  const accept = (socket: Socket) => {
    socket.on("error", () => socket.destroy());
    if (!isReachable) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    sniff(socket, (isHttp2) => {
      accepted = socket; // emits "session" before it returns
      (isHttp2 ? http2 : http1).emit("connection", socket);
      if (!isHttp2) socket.resume();
    });
  };
  const server = createServer(options.tls, accept);
  await listening(server, options);
  const cutAll = () => sockets.forEach((socket) => socket.destroy());
  return {
    port: (server.address() as AddressInfo).port,
    setReachable(reachable) {
      isReachable = reachable;
      if (!reachable) cutAll();
    },
    goAway() {
      for (const session of sessions) session.close();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        isReachable = false;
        cutAll();
      }),
  };
}

function createServer(tls: TlsIdentity | undefined, accept: (socket: Socket) => void): Server {
  if (!tls) return createPlain({ noDelay: true }, accept);
  const [cert, key] = [Buffer.from(tls.cert), Buffer.from(tls.key)];
  requirePair(cert, key);
  const server = createTls({ cert, key, ALPNProtocols: ["h2", "http/1.1"] }, accept);
  // A client that breaks off its handshake sees that itself.
  server.on("tlsClientError", (_, socket) => socket.destroy());
  return server;
}

function requirePair(cert: Buffer, key: Buffer): void {
  try {
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
      throw new Error("they do not match");
    }
  } catch (cause) {
    throw new ConnectorError(
      `the local Kinesis server cannot use its certificate and key: ${
        (cause as Error).message
      }. Give both as PEM.`,
      { code: "CONFIG_INVALID", cause, where: { key: "tls" } },
    );
  }
}

function listening(server: Server, { host, port }: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(
        new ConnectorError(
          `the local Kinesis server cannot listen on ${host}:${port}: ${cause.message}. Give another port, or 0 ` +
            "for a free one.",
          { code: "CONFIG_INVALID", cause },
        ),
      );
    });
    server.listen(port, host, resolve);
  });
}

// Reads as far as the first bytes tell the protocol, and puts them back.
function sniff(socket: Socket, decide: (isHttp2: boolean) => void): void {
  let seen = Buffer.alloc(0);
  const look = (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
    const start = seen.subarray(0, PREFACE.length).toString("latin1");
    if (start.length < PREFACE.length && PREFACE.startsWith(start)) return;
    socket.off("data", look);
    socket.pause();
    socket.unshift(seen);
    decide(start === PREFACE);
  };
  socket.on("data", look);
}

function requireLoopback(host: string): void {
  if (host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host)) return;
  throw new ConnectorError(
    `the local Kinesis server listens on loopback addresses only, not on "${host}": it lets everybody in. Use ` +
      "127.0.0.1 (the default), ::1 or localhost.",
    { code: "CONFIG_INVALID", where: { key: "host" } },
  );
}
