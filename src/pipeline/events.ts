// What a connector tells those who embed it.

import type { ConnectorError } from "../core/errors.ts";
import type { CheckpointEvent, ShardEndEvent, ShardStartEvent, ThrottleHookEvent } from "../hooks/types.ts";
import type { ConnectorStatus } from "./status.ts";

/** Events of a connector and what comes with each. */
export interface ConnectorEvents {
  /** A checkpoint was stored. */
  checkpoint: CheckpointEvent;
  /** An AWS service asked us to slow down. */
  throttle: ThrottleHookEvent;
  /** A shard's first iterator or subscription exists. */
  shardStart: ShardStartEvent;
  /** A shard was read to its end, all of it published. */
  shardEnd: ShardEndEvent;
  /** The connector stops because of this. */
  error: ConnectorError;
  /** Once a minute. */
  status: ConnectorStatus;
}

type Listener<T> = (event: T) => void;

/** Listeners by event. A listener that throws is a defect of the embedding program and ends up there. */
export class Emitter {
  readonly #listeners = new Map<keyof ConnectorEvents, Set<Listener<never>>>();

  /** Adds a listener; the returned function removes it. */
  on<Name extends keyof ConnectorEvents>(name: Name, listener: Listener<ConnectorEvents[Name]>): () => void {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) this.#listeners.set(name, listeners = new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  emit<Name extends keyof ConnectorEvents>(name: Name, event: ConnectorEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      (listener as Listener<ConnectorEvents[Name]>)(event);
    }
  }
}
