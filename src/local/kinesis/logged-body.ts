// Tells the request log what went through a subscription, once it is over.

import type { EndRequest } from "./request-log.ts";
import type { StreamBody, StreamPiece } from "./stream-body.ts";
import type { Subscription } from "./subscription.ts";

/** The body of a subscription as the request log sees it. */
export class LoggedBody implements StreamBody {
  readonly #body: StreamBody;
  readonly #subscription: Subscription;
  readonly #log: EndRequest;
  #bytes = 0;

  /** `body` is the subscription, or what a fault makes of it. */
  constructor(body: StreamBody, subscription: Subscription, log: EndRequest) {
    this.#body = body;
    this.#subscription = subscription;
    this.#log = log;
  }

  async next(): Promise<StreamPiece> {
    const piece = await this.#body.next();
    if (piece.kind === "bytes") { for (const chunk of piece.chunks) this.#bytes += chunk.length; }
    return piece;
  }

  close(): void {
    this.#body.close();
    const { events, records, end } = this.#subscription;
    this.#log({
      outcome: end === "cut" ? "dropped" : "answered",
      status: 200,
      events,
      records,
      bytes: this.#bytes,
      ended: end,
    });
  }
}
