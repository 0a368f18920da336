// The program's log: pino to stderr, as text on a terminal and as JSON lines elsewhere. Writes are synchronous, so the
// last lines before a crash are there.

import process from "node:process";
import { stripVTControlCharacters, styleText } from "node:util";
import pino from "pino";
import { ConnectorError } from "../core/errors.ts";
import type { LogFields, Logger } from "../core/log.ts";
import { hideUserInfo } from "../config/secrets.ts";

/** What the log needs of the configuration. */
export interface LogOptions {
  readonly level: "debug" | "info" | "warn" | "error";
  /** auto = text on a terminal, JSON lines otherwise. */
  readonly format: "auto" | "text" | "json";
}

/** Where lines go. */
export interface LogStream {
  write(line: string): unknown;
  readonly isTTY?: boolean | undefined;
}

/** Makes the log. JSON lines have `level` (word), `time` (ISO-8601), `msg` and the fields. */
export function createLogger(options: LogOptions, stream?: LogStream): Logger {
  const terminal = stream ?? process.stderr;
  const asText = options.format === "text" || options.format === "auto" && terminal.isTTY === true;
  const lines = stream ?? pino.destination({ dest: 2, sync: true });
  const target = asText ? textStream(lines, terminal.isTTY === true) : lines;
  const log = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    target as pino.DestinationStream,
  );
  const at = (level: LogOptions["level"]) => (message: string, fields?: LogFields) => {
    if (fields === undefined) log[level](hideUserInfo(message));
    else log[level](plainFields(fields), hideUserInfo(message));
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Fields as JSON can show them: errors by code and words, bigint as digits, our own names kept out of their way. */
function plainFields(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key === "level" || key === "time" || key === "msg" ? `${key}_` : key,
      plain(value),
    ]),
  );
}

function plain(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "string") return hideUserInfo(value);
  if (!(value instanceof Error)) return value;
  return {
    ...value instanceof ConnectorError ? { code: value.code } : { name: value.name },
    message: hideUserInfo(stripVTControlCharacters(value.message)), // Deno colours where an import failed
    ...value.cause === undefined ? {} : { cause: plain(value.cause) },
  };
}

function textStream(stream: LogStream, colours: boolean): LogStream {
  return {
    write: (line) => stream.write(`${textLine(JSON.parse(line) as Record<string, unknown>, colours)}\n`),
  };
}

/** `12:00:00.123 INFO  message key=value` */
function textLine(entry: Record<string, unknown>, colours: boolean): string {
  const { level, time, msg, ...fields } = entry;
  const word = String(level).toUpperCase().padEnd(5);
  const paint = (colour: "red" | "yellow" | "dim", text: string) =>
    colours ? styleText(colour, text, { validateStream: false }) : text;
  const shown = level === "error" ? paint("red", word) : level === "warn" ? paint("yellow", word) : word;
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${textValue(value)}`).join(" ");
  const clock = String(time).slice(11, 23);
  return `${paint("dim", clock)} ${shown} ${String(msg)}${rest === "" ? "" : ` ${paint("dim", rest)}`}`;
}

function textValue(value: unknown): string {
  if (typeof value === "string" && /^[^\s"=]+$/.test(value)) return value;
  if (isErrorEntry(value)) return JSON.stringify(`${value.code ?? value.name}: ${value.message}`);
  return JSON.stringify(value);
}

function isErrorEntry(value: unknown): value is { code?: string; name?: string; message: string } {
  return typeof value === "object" && value !== null && "message" in value &&
    ("code" in value || "name" in value);
}
