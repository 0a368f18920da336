// Where in a script an error arose, for messages that name file and line. Each runtime says it elsewhere: in the
// stack, in the message, or (Node, syntax errors) nowhere, so that the files have to be read once more.

import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { openJiti } from "./import.ts";

/** A place in a source file; line and column count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column?: number | undefined;
}

/** A place with what is wrong there, if better known than by the error's own words. */
export interface Located {
  readonly place?: Place | undefined;
  readonly reason: string;
}

// dist/, or src/: frames in there are ours, not the script's.
const OWN_FOLDER = dirname(fileURLToPath(import.meta.url)).replace(/([\\/]src)[\\/]hooks$/, "$1");
const PLACE = /((?:file:\/\/)?(?:\/|[A-Za-z]:[\\/])[^\s()"'<>]*?\.[cm]?[jt]s):(\d+)(?::(\d+))?/g;

/** Place and reason of an error of the script at `path`, which did not load. */
export async function locateLoadError(error: unknown, path: string): Promise<Located> {
  const reason = reasonOf(error);
  const missing = await locateMissingImport(error);
  if (missing !== undefined) return { place: missing, reason };
  const place = placeOf(error, path, true);
  if (place !== undefined || !(error instanceof SyntaxError)) return { place, reason };
  return await findSyntaxError(path) ?? { reason };
}

/**
 * The innermost place outside of this program that an error's stack or message names.
 * @param path of the script
 * @param loading whether the script was being imported: what follows our own frames is then our caller
 */
export function placeOf(error: unknown, path: string, loading = false): Place | undefined {
  if (!(error instanceof Error)) return undefined;
  const text = withoutBlanks(stripVTControlCharacters(`${error.stack ?? ""}\n${error.message}`), path);
  for (const [, file, line, column] of text.matchAll(PLACE)) {
    const name = file!.startsWith("file:") ? fileURLToPath(file!) : file!;
    if (name.startsWith(OWN_FOLDER)) {
      if (loading) return undefined;
      continue;
    }
    if (/[\\/]node_modules[\\/]/.test(name) && name !== path) continue;
    return { file: name, line: Number(line), column: column === undefined ? undefined : Number(column) };
  }
  return undefined;
}

// A path with blanks cannot be told from prose, its URL can.
function withoutBlanks(text: string, path: string): string {
  if (!isAbsolute(path) || !path.includes(" ")) return text;
  const folder = dirname(path);
  const known = text.replaceAll(path, pathToFileURL(path).href);
  return folder.includes(" ") ? known.replaceAll(folder, pathToFileURL(folder).href) : known;
}

/** The first line of what went wrong, without colours and places. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return `it threw ${typeof error}`;
  const first = stripVTControlCharacters(error.message).split("\n")[0]!.trim().replace(/^ParseError: /, "");
  const text = first.replace(/\s+at file:\S+:\d+.*$/, "");
  const isSyntax = error instanceof SyntaxError || error.message.startsWith("ParseError");
  return isSyntax && !/^SyntaxError/.test(text) ? `SyntaxError: ${text}` : text;
}

const MISSING =
  /Cannot find (?:module|package) '([^']+)'(?: imported from (.+)|[\s\S]*?Require stack:\n- (.+))/;

// Node names the importing file, but not the line.
async function locateMissingImport(error: unknown): Promise<Place | undefined> {
  if (!(error instanceof Error)) return undefined;
  const found = MISSING.exec(error.message);
  if (found === null) return undefined;
  const [, name, native, required] = found;
  const file = (native ?? required!).trim();
  const source = await readFile(file, "utf8").catch(() => undefined); // then only the line stays unknown
  const lines = source?.split("\n") ?? [];
  const base = name!.slice(Math.max(name!.lastIndexOf("/"), name!.lastIndexOf("\\")) + 1);
  const quoted = (text: string): RegExp => new RegExp(`["'\`](?:[^"'\`]*/)?${escape(text)}["'\`]`);
  const line = lines.findIndex((text) => text.includes(`"${name}"`) || quoted(base).test(text));
  return line < 0 ? undefined : { file, line: line + 1 };
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

const MOST_FILES = 50;
const RELATIVE_IMPORT = /(?:from|import)\s*\(?\s*["'](\.[^"']+)["']/g;
const JITI_ERROR = /^exports\.__JITI_ERROR__ = (\{.*\})/;

/** The first syntax error in a script or the relative files that it imports, found by parsing them. */
async function findSyntaxError(path: string): Promise<Located | undefined> {
  const jiti = await openJiti();
  const files = [path];
  for (let index = 0; index < files.length && index < MOST_FILES; index++) {
    const file = files[index]!;
    const source = await readFile(file, "utf8").catch(() => undefined); // another error will tell
    if (source === undefined) continue;
    const transformed = jiti.transform({ source, filename: file, async: true, ts: /\.[cm]?ts$/.test(file) });
    const found = JITI_ERROR.exec(transformed);
    if (found !== null) {
      const { line, column, message } = JSON.parse(found[1]!) as {
        line: number;
        column: number;
        message: string;
      };
      return { place: { file, line, column }, reason: `SyntaxError: ${message.trim()}` };
    }
    for (const [, specifier] of source.matchAll(RELATIVE_IMPORT)) {
      const next = resolve(dirname(file), specifier!);
      if (!files.includes(next)) files.push(next);
    }
  }
  return undefined;
}
