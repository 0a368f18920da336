// Connections by broker: one per address that is dialled and broker that is meant (they differ behind a proxy).
// Whoever asks for a broker that is just being connected waits for the same attempt. Here is decided how long a refusal
// is waited for: not at all before any broker was reached, for a while afterwards (a token that is renewed a moment too
// late, a file that is being replaced, a broker whose own judge of tokens is away).

import { ConnectorError, toConnectorError } from "../core/errors.ts";
import { type BrokerTarget, Connection, type ConnectionOptions } from "./connection.ts";
import { addressText } from "./service-url.ts";

/** What all connections of a pool share. */
export interface PoolOptions
  extends Omit<ConnectionOptions, "address" | "proxyTo" | "isProven" | "onClosed"> {
  /** How long credentials may be refused, or files be wrong, once a broker was reached; milliseconds. */
  readonly refusalPatienceMs: number;
  /** A connection was refused for a reason that trying again does not cure. */
  readonly onRefused: (error: ConnectorError) => void;
}

/** One per sink. */
export class ConnectionPool {
  readonly #options: PoolOptions;
  readonly #connections = new Map<string, Promise<Connection>>();
  /** Whether any broker was ever reached. */
  #isProven = false;
  /** Monotonic; since when nothing but refusals came. */
  #refusedSince: number | undefined;
  readonly #closing = new AbortController();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** The connection to a broker, new or not. Rejects as {@link Connection.open}. */
  get(target: BrokerTarget): Promise<Connection> {
    const proxyTo = target.behindProxy && addressText(target.behindProxy);
    const key = `${target.dial.tls} ${addressText(target.dial)} ${proxyTo ?? ""}`;
    const known = this.#connections.get(key);
    if (known !== undefined) return known;
    const forget = (): void => {
      if (this.#connections.get(key) === opening) this.#connections.delete(key);
    };
    const opening = Connection.open(
      { ...this.#options, address: target.dial, proxyTo, isProven: this.#isProven, onClosed: forget },
      this.#closing.signal,
    ).then((connection) => {
      this.#isProven = true;
      this.#refusedSince = undefined;
      return connection;
    }, (error: unknown) => {
      forget();
      const refused = this.#withPatience(toConnectorError(error));
      if (!refused.retryable && !this.#closing.signal.aborted) this.#options.onRefused(refused);
      throw refused;
    });
    this.#connections.set(key, opening);
    opening.catch(() => {}); // whoever asked is told
    return opening;
  }

  /** Closes all connections and attempts. */
  async close(): Promise<void> {
    const closed = new ConnectorError("the Pulsar sink is closed", { code: "PULSAR_UNREACHABLE" });
    this.#closing.abort(closed);
    for (const opening of await Promise.allSettled(this.#connections.values())) {
      if (opening.status === "fulfilled") opening.value.close(closed);
    }
  }

  #withPatience(error: ConnectorError): ConnectorError {
    const isRefusal = error.code === "PULSAR_NOT_AUTHORIZED" || error.code === "CONFIG_INVALID";
    if (!isRefusal || error.retryable || !this.#isProven) return error;
    const { clock, refusalPatienceMs } = this.#options;
    this.#refusedSince ??= clock.monotonic();
    if (clock.monotonic() - this.#refusedSince >= refusalPatienceMs) return error;
    const { message, code, where } = error;
    return new ConnectorError(
      `${message} This worked before, and is tried for ${
        refusalPatienceMs / 1000
      } s until it ends the connector`,
      { code, where, retryable: true, cause: error },
    );
  }
}
