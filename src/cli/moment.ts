// Times and positions as options give them.

import { parseTime } from "../config/mod.ts";
import type { ResetPosition } from "../open-leases.ts";
import { UsageError } from "./commands.ts";

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

// Epoch seconds, or too short a sequence number: as milliseconds they lie before any stream, and would begin at its oldest
// record, or end a run before its first.
const NO_MILLISECONDS = /^\d{1,11}$/;

/**
 * Epoch milliseconds of a time as in `startAtTime`, of `now`, or of `-90s`, `-30m`, `-6h`, `-2d`; `undefined` = none of
 * these.
 */
export function parseMoment(text: string, now: number): number | undefined {
  if (text === "now") return now;
  if (NO_MILLISECONDS.test(text)) return undefined;
  const back = /^-(\d+)([smhd])$/.exec(text);
  return back ? now - Number(back[1]) * UNITS[back[2]!]! : parseTime(text);
}

// Sequence numbers have about 56 digits, epoch milliseconds 13.
const SEQUENCE_NUMBER = /^\d{20,}$/;

/**
 * The position of `--to`.
 * @throws UsageError for what is none, a time in the future, and a sequence number without a shard
 */
export function parsePosition(text: string, shardId: string | undefined, now: number): ResetPosition {
  if (/^latest$/i.test(text)) return { type: "LATEST" };
  if (/^(trim_horizon|earliest)$/i.test(text)) return { type: "TRIM_HORIZON" };
  if (SEQUENCE_NUMBER.test(text)) {
    if (shardId !== undefined) return { type: "AT_SEQUENCE_NUMBER", sequenceNumber: text };
    throw new UsageError("--to with a sequence number needs --shard: it is a position of one shard only");
  }
  const timestamp = parseMoment(text, now);
  if (timestamp === undefined) {
    throw new UsageError(
      `--to must be LATEST, TRIM_HORIZON, a time like 2026-09-01T00:00Z, -6h or epoch milliseconds, or a ` +
        `sequence number, not "${text}"`,
    );
  }
  if (timestamp > now) throw new UsageError(`--to ${text} is in the future; LATEST means from now on`);
  return { type: "AT_TIMESTAMP", timestamp };
}
