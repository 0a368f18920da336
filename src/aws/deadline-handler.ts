// HTTP/1.1 with keep-alive and a hard time limit over the whole call. The SDK's handler watches only until the answer's
// head has come (and by default merely warns); a body that stalls or trickles would hold a reader for ever.

import type { Readable } from "node:stream";
import { NodeHttpHandler } from "@smithy/node-http-handler";

type Handle = NodeHttpHandler["handle"];

/** Options of a {@link DeadlineHandler}. */
export interface DeadlineHandlerOptions {
  /** From the call to the last byte of the answer, waiting for a socket included, milliseconds. */
  readonly requestTimeoutMs: number;
  /** Until a connection stands, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Connections per host; more calls wait for one. */
  readonly maxSockets: number;
}

/** The SDK's Node handler, ended by its deadline. Fails with an error named TimeoutError. */
export class DeadlineHandler extends NodeHttpHandler {
  readonly #requestTimeoutMs: number;

  constructor(options: DeadlineHandlerOptions) {
    const agent = { keepAlive: true, maxSockets: options.maxSockets };
    super({
      requestTimeout: options.requestTimeoutMs,
      throwOnRequestTimeout: true,
      connectionTimeout: options.connectTimeoutMs,
      httpAgent: agent,
      httpsAgent: agent,
    });
    this.#requestTimeoutMs = options.requestTimeoutMs;
  }

  override async handle(request: Parameters<Handle>[0], options?: Parameters<Handle>[1]): ReturnType<Handle> {
    const startedAt = performance.now();
    const result = await super.handle(request, options);
    const body = result.response.body as Readable;
    const limitMs = this.#requestTimeoutMs;
    const timer = setTimeout(() => {
      const error = new Error(`the answer was not complete within ${limitMs} ms`);
      error.name = "TimeoutError";
      body.destroy(error);
    }, Math.max(0, limitMs - (performance.now() - startedAt)));
    body.once("close", () => clearTimeout(timer));
    return result;
  }
}
