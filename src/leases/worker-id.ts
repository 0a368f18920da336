// Who holds a lease. Never reused: two processes under one id would both believe they hold it (kcl-compat §3.2).

import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import process from "node:process";

/** A new id `host:pid:random`. */
export function newWorkerId(): string {
  return `${hostname()}:${process.pid}:${randomUUID()}`;
}

/** Whether an id is one that Java connectors use: the instance's number ("0", "1", …). */
export function isJavaWorkerId(id: string): boolean {
  return /^\d+$/.test(id);
}

/** Whether an id is one of {@link newWorkerId}: such workers look at the table every second. */
export function isOwnWorkerId(id: string): boolean {
  return /:\d+:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(id);
}
