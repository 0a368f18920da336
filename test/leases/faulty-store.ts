// A store behind a bad line: requests and answers are delayed or lost, calls are refused. A lost answer means that the
// write WAS applied; a late request may be applied after its caller gave up. Time is the given clock's.

import type { Clock } from "../../src/core/clock.ts";
import { ConnectorError } from "../../src/core/errors.ts";
import type {
  ClientVersion,
  Lease,
  LeaseChange,
  LeaseMeta,
  LeaseScan,
  LeaseStore,
  ScanOptions,
  WriteResult,
} from "../../src/leases/store.ts";

/** What happens to one call. */
export interface Fault {
  readonly lose?: "request" | "response";
  readonly requestDelayMs?: number;
  readonly responseDelayMs?: number;
  readonly error?: ConnectorError;
}

/** One call of the port. */
export interface Call {
  readonly operation: string;
  readonly leaseKey?: string;
  readonly change?: LeaseChange;
}

/** Wraps a store; `plan` decides about each call. */
export class FaultyStore implements LeaseStore {
  readonly calls: Call[] = [];
  /** Replaced by tests at any time. */
  plan: (call: Call) => Fault | undefined = () => undefined;
  readonly #inner: LeaseStore;
  readonly #clock: Clock;
  readonly #timeoutMs: number;

  constructor(inner: LeaseStore, clock: Clock, timeoutMs: number) {
    this.#inner = inner;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  get tableName(): string {
    return this.#inner.tableName;
  }

  open(signal: AbortSignal): Promise<"created" | "existed"> {
    return this.#inner.open(signal);
  }
  scan(options?: ScanOptions): Promise<LeaseScan> {
    return this.#call({ operation: "Scan" }, () => this.#inner.scan(options));
  }
  get(leaseKey: string): Promise<Lease | undefined> {
    return this.#call({ operation: "GetItem", leaseKey }, () => this.#inner.get(leaseKey));
  }
  create(lease: Lease): Promise<boolean> {
    return this.#call({ operation: "PutItem", leaseKey: lease.leaseKey }, () => this.#inner.create(lease));
  }
  update(leaseKey: string, expectedCounter: number, change: LeaseChange): Promise<WriteResult> {
    return this.#call(
      { operation: "UpdateItem", leaseKey, change },
      () => this.#inner.update(leaseKey, expectedCounter, change),
    );
  }
  delete(leaseKey: string, expectedCounter: number): Promise<boolean> {
    return this.#call(
      { operation: "DeleteItem", leaseKey },
      () => this.#inner.delete(leaseKey, expectedCounter),
    );
  }
  setMeta(leaseKey: string, meta: LeaseMeta): Promise<void> {
    return this.#call({ operation: "SetMeta", leaseKey }, () => this.#inner.setMeta(leaseKey, meta));
  }
  tableState(tableName: string): Promise<"missing" | "empty" | "used"> {
    return this.#call({ operation: "DescribeTable" }, () => this.#inner.tableState(tableName));
  }
  clientVersion(): Promise<ClientVersion> {
    return this.#call({ operation: "ClientVersion" }, () => this.#inner.clientVersion());
  }
  close(): Promise<void> {
    return this.#inner.close();
  }

  async #call<T>(call: Call, run: () => Promise<T>): Promise<T> {
    this.calls.push(call);
    const fault = this.plan(call);
    if (fault === undefined) return run();
    if (fault.error !== undefined) throw fault.error;
    const over = new AbortController();
    const timeout = this.#clock.sleep(this.#timeoutMs, over.signal).then(() => {
      throw unavailable(call.operation);
    });
    try {
      return await Promise.race([this.#deliver(fault, run), timeout]);
    } finally {
      over.abort();
      timeout.catch(() => {});
    }
  }

  async #deliver<T>(fault: Fault, run: () => Promise<T>): Promise<T> {
    if (fault.lose === "request") return await never();
    await this.#clock.sleep(fault.requestDelayMs ?? 0);
    const result = await run();
    if (fault.lose === "response") return await never();
    await this.#clock.sleep(fault.responseDelayMs ?? 0);
    return result;
  }
}

/** Nobody answered. */
export function unavailable(operation = "UpdateItem"): ConnectorError {
  return new ConnectorError(`${operation}: no answer`, {
    code: "AWS_UNAVAILABLE",
    retryable: true,
    where: { operation },
  });
}

/** DynamoDB asked to slow down. */
export function throttled(operation = "UpdateItem"): ConnectorError {
  return new ConnectorError(`${operation}: throttled`, {
    code: "THROTTLED",
    retryable: true,
    where: { operation },
  });
}

/** A permission is missing. */
export function denied(operation = "UpdateItem"): ConnectorError {
  return new ConnectorError(`${operation}: denied`, { code: "ACCESS_DENIED", where: { operation } });
}

function never(): Promise<never> {
  return new Promise(() => {});
}
