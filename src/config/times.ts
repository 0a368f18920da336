// Moments as people and Java write them. A time without a zone is UTC, as in the Java connector.

// date, time, fraction, zone; the separator is T, t or a blank (TOML allows it).
const ISO =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?)?$/;
// RFC 1123, with the one-digit days and the missing weekday that Java accepts.
const RFC_1123 =
  /^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?(\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) (\d\d):(\d\d)(?::(\d\d))? (GMT|UTC|UT|Z|[+-]\d{4})$/i;
const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
// The largest time a Date can hold.
const MAX_TIME = 8.64e15;

/**
 * Epoch milliseconds of a moment: ISO-8601 with or without zone, `yyyy-MM-dd`, RFC-1123, epoch milliseconds as
 * number or digits, a Date or a TOML date. `undefined` = none of these, or a day that does not exist.
 */
export function parseTime(value: unknown): number | undefined {
  if (typeof value === "number") {
    return Number.isInteger(value) && Math.abs(value) <= MAX_TIME ? value : undefined;
  }
  if (value instanceof Date) return parseDate(value);
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  if (/^-?(?!\d{4}$)\d+$/.test(text)) return parseTime(Number(text)); // four digits are somebody's year
  return parseIso(text) ?? parseRfc1123(text);
}

function parseDate(date: Date): number | undefined {
  if (Number.isNaN(date.getTime())) return undefined;
  // smol-toml's TomlDate prints what the file has; a local one has no zone.
  return "isLocal" in date ? parseIso(date.toISOString()) : date.getTime();
}

function parseIso(text: string): number | undefined {
  const match = ISO.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", zone = "Z"] = match;
  const ms = Number(fraction.slice(0, 3).padEnd(3, "0"));
  return moment(
    [year, month, day, hour, minute, second].map(Number) as Civil,
    ms,
    zoneMinutes(zone),
  );
}

function parseRfc1123(text: string): number | undefined {
  const match = RFC_1123.exec(text);
  if (!match) return undefined;
  const [, day, month, year, hour, minute, second = "0", zone] = match as unknown as [string, ...string[]];
  const civil: Civil = [
    Number(year),
    MONTHS.indexOf(month!.toLowerCase()) + 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
  ];
  return moment(civil, 0, /^[+-]/.test(zone!) ? zoneMinutes(zone!) : 0);
}

type Civil = [year: number, month: number, day: number, hour: number, minute: number, second: number];

// Date.UTC rolls the 30th of February over to March: such a day is refused.
function moment(civil: Civil, ms: number, zone: number | undefined): number | undefined {
  const [year, month, day, hour, minute, second] = civil;
  const date = new Date(Date.UTC(2000, month - 1, 1));
  date.setUTCFullYear(year, month - 1, day); // Date.UTC would read years below 100 as 19xx
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  if (hour > 23 || minute > 59 || second > 59 || zone === undefined) return undefined;
  return date.getTime() + ((hour * 60 + minute - zone) * 60 + second) * 1000 + ms;
}

function zoneMinutes(zone: string): number | undefined {
  if (/^z$/i.test(zone)) return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(3).replace(":", "") || "0");
  if (hours > 18 || minutes > 59) return undefined;
  return (zone.startsWith("-") ? -1 : 1) * (hours * 60 + minutes);
}
