// Leases as text for a person, and as JSON. In text long names and numbers are shortened so that a row fits a terminal;
// JSON has them whole.

import type { LeaseLine, LeaseReport, OwnerLine, ReleasedRow, ResetRow } from "../open-leases.ts";

type Row = readonly string[];

/** The table, its owners, and a line that sums up. */
export function leasesText(report: LeaseReport): string {
  const { tableName, streamName, at, leases, owners } = report;
  const head = `lease table "${tableName}" of stream "${streamName}" at ${time(at)}`;
  if (leases.length === 0) return `${head}: no leases yet`;
  const label = ownerLabels(owners);
  const rows = leases.map((line): Row => [
    line.shardId,
    line.owner === undefined ? "-" : label.get(line.owner)!,
    stateOf(line),
    shortCheckpoint(line.checkpoint),
    lagText(line),
    line.expiresAt === undefined ? "" : duration(line.expiresAt - at),
    line.parentShardIds.map(shortShard).join(", "),
    line.childShardIds.map(shortShard).join(", "),
    line.hasGeneration ? "yes" : "",
  ]);
  const titles = [
    "SHARD",
    "OWNER",
    "STATE",
    "CHECKPOINT",
    "LAG",
    "EXPIRES IN",
    "PARENTS",
    "CHILDREN",
    "ONCE",
  ];
  const held = owners.map((one): Row => [one.owner, one.state, String(one.leases), String(one.finished)]);
  return [
    head,
    "",
    ...table([titles, ...rows]),
    ...held.length === 0 ? [] : ["", ...table([["OWNER", "STATE", "LEASES", "FINISHED"], ...held])],
    "",
    sum(report),
  ].join("\n");
}

/** The same for programs: times as ISO-8601, numbers whole. */
export function leasesJson(report: LeaseReport): unknown {
  const { at, tableName, leases, ...rest } = report;
  return {
    table: tableName,
    at: time(at),
    ...rest,
    leases: leases.map(({ oldestUnreadAt, expiresAt, ...line }) => ({
      ...line,
      state: stateOf(line),
      ...oldestUnreadAt === undefined ? {} : { oldestUnreadAt: time(oldestUnreadAt) },
      ...expiresAt === undefined ? {} : {
        expiresAt: time(expiresAt),
        expiresInSeconds: Math.max(0, Math.floor((expiresAt - at) / 1000)),
      },
    })),
  };
}

/** What a reset wrote, or would. */
export function resetText(tableName: string, rows: readonly ResetRow[], dryRun: boolean): string {
  const lines = rows.map(({ shardId, from, to, startedAt }): Row => [
    shardId,
    from === undefined ? "no lease" : shortCheckpoint(from),
    "→",
    to === undefined
      ? "removed"
      : shortCheckpoint(to) + (startedAt === undefined ? "" : ` (from ${time(startedAt)} on)`),
  ]);
  const written = rows.filter(({ to }) => to !== undefined).length;
  const removed = rows.length - written;
  const what = `${plural(written, "lease")}${removed === 0 ? "" : `, removed ${removed}`}`;
  const end = dryRun
    ? `this would write ${what} in table "${tableName}"; nothing was changed`
    : `wrote ${what} in table "${tableName}"`;
  return [...table(lines), "", end].join("\n");
}

/** What a release wrote, or would. */
export function releasedText(
  tableName: string,
  released: readonly ReleasedRow[],
  dryRun: boolean,
): string {
  if (released.length === 0) return `no lease in table "${tableName}" has an owner`;
  const lines = released.map(({ shardId, owner }): Row => [shardId, owner]);
  const end = dryRun
    ? `this would release ${plural(released.length, "lease")} in table "${tableName}"; nothing was changed`
    : `released ${plural(released.length, "lease")} in table "${tableName}"`;
  return [...table(lines), "", end].join("\n");
}

function stateOf(line: Pick<LeaseLine, "finished" | "waitsFor" | "owner" | "ownerState">): string {
  if (line.finished) return "finished";
  if (line.owner === undefined) return "unowned";
  if (line.ownerState === "silent") return "owner silent";
  if (line.waitsFor.length > 0) return "waiting";
  return line.ownerState === "alive" ? "held" : "owned";
}

function sum({ leases, owners, at, foreignItems }: LeaseReport): string {
  const counts = new Map<string, number>();
  for (const line of leases) counts.set(stateOf(line), (counts.get(stateOf(line)) ?? 0) + 1);
  const states = [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
  const parts = [`${plural(leases.length, "lease")} (${states}) of ${plural(owners.length, "owner")}`];
  const [behind] = leases.filter((line) => (line.lagMs ?? 0) > 0).sort((a, b) => b.lagMs! - a.lagMs!);
  if (behind !== undefined) {
    const left = behind.expiresAt === undefined
      ? ""
      : `, its data expires in ${duration(behind.expiresAt - at)}`;
    parts.push(`furthest behind: ${behind.shardId} by ${duration(behind.lagMs!)}${left}`);
  }
  if (foreignItems > 0) parts.push(`${plural(foreignItems, "item")} of another kind`);
  return parts.join("; ");
}

function lagText({ lagMs, lagError }: LeaseLine): string {
  if (lagError === "SHARD_NOT_FOUND") return "shard gone";
  if (lagError === "FOREIGN_CHECKPOINT") return "not of this stream";
  if (lagError !== undefined) return "?";
  if (lagMs === undefined) return "";
  return lagMs === 0 ? "0" : duration(lagMs);
}

/** `host:pid:random` as `host:pid:rand`, where that tells all owners apart. */
function ownerLabels(owners: readonly OwnerLine[]): ReadonlyMap<string, string> {
  const short = (owner: string) => owner.replace(/^(.+:\d+:[0-9a-f]{4})[0-9a-f]{4}-[0-9a-f-]{27}$/, "$1");
  const tellsApart = new Set(owners.map(({ owner }) => short(owner))).size === owners.length;
  return new Map(owners.map(({ owner }) => [owner, tellsApart ? short(owner) : owner]));
}

/** The zeros say nothing. */
function shortShard(shardId: string): string {
  return shardId.replace(/^shardId-0*(?=\d)/, "");
}

function shortCheckpoint(
  { sequenceNumber, subSequenceNumber }: { sequenceNumber: string; subSequenceNumber: number },
): string {
  const number = sequenceNumber.replace(/^(\d{4})\d{12,}(\d{12})$/, "$1…$2");
  if (subSequenceNumber < 0) return `before ${number}`;
  return subSequenceNumber === 0 ? number : `${number} +${subSequenceNumber}`;
}

const UNITS = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]] as const;

/** The two largest units: `2 d 3 h`, `5 min 20 s`, `< 1 s`. */
function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  if (first === -1) return "< 1 s";
  let rest = seconds;
  const parts = UNITS.slice(first, first + 2).map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return count === 0 ? "" : `${count} ${unit}`;
  });
  return parts.filter((part) => part !== "").join(" ");
}

function time(epochMs: number): string {
  return new Date(epochMs).toISOString().replace(".000Z", "Z");
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Columns as wide as they must be; those with nothing but a title are left out. */
function table(rows: readonly Row[]): string[] {
  const [titles = []] = rows;
  const widths = titles.map((_, column) =>
    rows.slice(1).some((row) => row[column] !== "") || rows.length === 1
      ? Math.max(...rows.map((row) => row[column]!.length))
      : 0
  );
  return rows.map((row) =>
    row.flatMap((cell, column) => widths[column] === 0 ? [] : [cell.padEnd(widths[column]!)]).join("  ")
      .trimEnd()
  );
}
