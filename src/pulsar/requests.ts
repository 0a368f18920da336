// Requests on a connection that wait for their answer, by request id.

import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import { brokerError } from "./errors.ts";
import type { Command } from "./wire/commands.ts";

interface Pending {
  readonly operation: string;
  readonly topic: string | undefined;
  readonly timer: AbortController;
  resolve(command: Command): void;
  reject(error: ConnectorError): void;
}

const timeouts = new WeakSet<object>();

/** Whether a request got no answer in time: the broker may have done it all the same. */
export function isRequestTimeout(error: unknown): boolean {
  return error instanceof ConnectorError && timeouts.has(error);
}

/** One per connection. */
export class RequestTable {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #broker: string;
  readonly #pending = new Map<number, Pending>();

  constructor(clock: Clock, timeoutMs: number, broker: string) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#broker = broker;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** The answer to a request that is about to be sent. */
  expect(requestId: number, operation: string, topic?: string): Promise<Command> {
    const timer = new AbortController();
    const answer = new Promise<Command>((resolve, reject) => {
      this.#pending.set(requestId, { operation, topic, timer, resolve, reject });
    });
    void this.#clock.sleep(this.#timeoutMs, timer.signal).then(() => {
      if (!timer.signal.aborted) this.#take(requestId)?.reject(this.#timedOut(operation));
    });
    return answer;
  }

  answer(requestId: number, command: Command): void {
    // Not granted yet (exclusive access): the same request is answered again later, whenever that is.
    if (command.name === "PRODUCER_SUCCESS" && !command.producerReady) {
      this.#pending.get(requestId)?.timer.abort();
    } else this.#take(requestId)?.resolve(command);
  }

  refuse(requestId: number, error: number, message: string): void {
    const request = this.#take(requestId);
    if (request === undefined) return;
    const { operation, topic } = request;
    request.reject(brokerError(error, message, { operation, topic, broker: this.#broker }));
  }

  /** All of them. */
  fail(error: ConnectorError): void {
    for (const requestId of [...this.#pending.keys()]) this.#take(requestId)?.reject(error);
  }

  #take(requestId: number): Pending | undefined {
    const request = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    request?.timer.abort();
    return request;
  }

  #timedOut(operation: string): ConnectorError {
    const error = new ConnectorError(
      `the broker ${this.#broker} did not answer ${operation} within ${this.#timeoutMs} ms`,
      { code: "PULSAR_UNAVAILABLE", retryable: true, where: { operation } },
    );
    timeouts.add(error);
    return error;
  }
}
