// What a connector shows over HTTP: /metrics for Prometheus, /livez and /readyz for whoever starts and stops processes,
// /status for people and programs. Answers GET and HEAD only, asks for no authentication, and shows no secrets.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ConnectorError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { PROMETHEUS_TYPE, prometheusText } from "./prometheus.ts";
import type { MetricSnapshot } from "./registry.ts";

/** What is shown. Each is asked once per request. */
export interface Observed {
  readonly streamName: string;
  metrics(): readonly MetricSnapshot[];
  /** Something that JSON can say. */
  status(): object;
  /** Why it is not alive, or not ready; nothing = it is. */
  health(): {
    readonly live: { readonly reasons: readonly string[] };
    readonly ready: { readonly reasons: readonly string[] };
  };
}

/** Where to listen. */
export interface HttpOptions {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  readonly log: Logger;
}

/** A server that answers. */
export interface HttpEndpoint {
  /** `http://127.0.0.1:9464` */
  readonly url: string;
  /** Ends all connections. */
  close(): Promise<void>;
}

/** Nobody needs longer for a GET. */
const REQUEST_TIMEOUT_MS = 10_000;

/** @throws ConnectorError CONFIG_INVALID when it cannot listen there */
export async function openHttpEndpoint(observed: Observed, options: HttpOptions): Promise<HttpEndpoint> {
  const { host, port, log } = options;
  const server = createServer((request, response) => {
    try {
      answer(request, response, observed);
    } catch (error) { // a defect; the connector goes on, and whoever asked is told
      log.error(`${request.url} could not be answered: ${messageOf(error)}`, { cause: error });
      if (!response.headersSent) send(response, 500, "text/plain; charset=utf-8", "internal error\n");
    }
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  await listen(server, host, port);
  server.on("error", (error) => log.warn(`the HTTP server failed: ${error.message}`));
  const address = server.address() as AddressInfo;
  const url = `http://${
    address.family === "IPv6" ? `[${address.address}]` : address.address
  }:${address.port}`;
  if (!isLoopback(address.address)) {
    log.warn(
      `http.host = "${host}": everybody who reaches ${url} can read /metrics and /status; there is no authentication`,
    );
  }
  return { url, close: () => close(server) };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error & { readonly code?: string }): void => {
      reject(
        new ConnectorError(`http: cannot listen on ${host}, port ${port}: ${whyNot(error)}`, {
          code: "CONFIG_INVALID",
          where: {
            key: error.code === "EADDRNOTAVAIL" || error.code === "ENOTFOUND" ? "http.host" : "http.port",
          },
          cause: error,
        }),
      );
    };
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

function whyNot({ code, message }: Error & { readonly code?: string }): string {
  switch (code) {
    case "EADDRINUSE":
      return "another program listens there; give http.port another number, or 0 for any free one";
    case "EACCES":
      return "this user may not use that port; ports below 1024 are often reserved";
    case "EADDRNOTAVAIL":
    case "EINVAL": // Deno's word for it
    case "ENOTFOUND":
      return 'this machine has no such address; http.host = "127.0.0.1" is for this machine only, "0.0.0.0" for all';
    default:
      return message;
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.") || address.startsWith("::ffff:127.");
}

const PREFIX = "kinesis_pulsar_";

function answer(request: IncomingMessage, response: ServerResponse, observed: Observed): void {
  const page = pageOf((request.url ?? "/").split("?", 1)[0]!, observed);
  if (page === undefined) return send(response, 404, TEXT, `there are ${PAGES.join(", ")}\n`);
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    return send(response, 405, TEXT, "only GET and HEAD\n");
  }
  const { status, type, body } = page();
  send(response, status, type, body, request.method === "HEAD");
}

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";
const PAGES = ["/metrics", "/livez", "/readyz", "/status"];

interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

function pageOf(path: string, observed: Observed): (() => Page) | undefined {
  switch (path) {
    case "/metrics":
      return () => ({
        status: 200,
        type: PROMETHEUS_TYPE,
        body: prometheusText(observed.metrics(), {
          prefix: PREFIX,
          labels: { stream: observed.streamName },
        }),
      });
    case "/livez":
      return () => health(observed.health().live.reasons);
    case "/readyz":
      return () => health(observed.health().ready.reasons);
    case "/status":
      return () => ({ status: 200, type: JSON_TYPE, body: json(observed.status()) });
    default:
      return undefined;
  }
}

function health(reasons: readonly string[]): Page {
  const ok = reasons.length === 0;
  return { status: ok ? 200 : 503, type: JSON_TYPE, body: json(ok ? { ok } : { ok, reasons }) };
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function send(response: ServerResponse, status: number, type: string, body: string, headOnly = false): void {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": new TextEncoder().encode(body).length,
    "Cache-Control": "no-store",
  });
  response.end(headOnly ? undefined : body);
}
