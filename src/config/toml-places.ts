// Where each key of a TOML document stands (smol-toml keeps no positions). Reads only documents that smol-toml has
// accepted, so it skips values instead of understanding them; what it does not know ends the search, never throws.

import { type KeyPath, pathText, placeFinder, type Places } from "./paths.ts";

/** Places of all keys and list items of a valid TOML document. */
export function tomlPlaces(text: string): Places {
  const places: Places = new Map();
  const placeAt = placeFinder(text);
  const listLengths = new Map<string, number>(); // of [[tables]]
  let at = 0;
  let table: KeyPath = [];

  skipBlank();
  while (at < text.length) {
    const before = at;
    if (text[at] === "[") table = readHeader();
    else readPair(table);
    skipBlank();
    if (at === before) break;
  }
  return places;

  function note(path: KeyPath, offset: number): void {
    const key = pathText(path);
    if (!places.has(key)) places.set(key, placeAt(offset));
  }

  /** Blanks, line ends, comments, and the commas of lists. */
  function skipBlank(): void {
    for (; at < text.length; at++) {
      if (text[at] === "#") { while (at < text.length && text[at] !== "\n") at++; }
      else if (!" \t\r\n,".includes(text[at]!)) return;
    }
  }

  function skipSpace(): void {
    while (text[at] === " " || text[at] === "\t") at++;
  }

  function readHeader(): KeyPath {
    const isList = text.startsWith("[[", at);
    at += isList ? 2 : 1;
    const keys = readKey();
    at += isList ? 2 : 1;
    let path: KeyPath = [];
    for (const [index, { name, offset }] of keys.entries()) {
      path = [...path, name];
      note(path, offset);
      const length = listLengths.get(pathText(path)) ?? 0;
      const isNewItem = isList && index === keys.length - 1;
      if (isNewItem) listLengths.set(pathText(path), length + 1);
      if (isNewItem || length > 0) path = [...path, isNewItem ? length : length - 1];
      if (isNewItem) note(path, offset);
    }
    return path;
  }

  function readPair(parent: KeyPath): void {
    let path = parent;
    for (const { name, offset } of readKey()) {
      path = [...path, name];
      note(path, offset);
    }
    if (text[at] !== "=") return;
    at++;
    skipSpace();
    readValue(path);
  }

  /** A dotted key; ends at what follows it. */
  function readKey(): { name: string; offset: number }[] {
    const keys = [];
    while (at < text.length) {
      skipSpace();
      const offset = at;
      if (text[at] === '"' || text[at] === "'") {
        skipString();
        keys.push({ name: unquote(text.slice(offset, at)), offset });
      } else {
        while (/[A-Za-z0-9_-]/.test(text[at] ?? "")) at++;
        keys.push({ name: text.slice(offset, at), offset });
      }
      skipSpace();
      if (text[at] !== ".") break;
      at++;
    }
    return keys;
  }

  function readValue(path: KeyPath): void {
    const opening = text[at];
    if (opening === '"' || opening === "'") return skipString();
    if (opening !== "[" && opening !== "{") {
      while (at < text.length && !",]}\n#".includes(text[at]!)) at++;
      return;
    }
    const closing = opening === "[" ? "]" : "}";
    at++;
    skipBlank();
    for (let index = 0; at < text.length && text[at] !== closing; index++) {
      const before = at;
      if (opening === "{") readPair(path);
      else {
        note([...path, index], at);
        readValue([...path, index]);
      }
      skipBlank();
      if (at === before) return;
    }
    at++;
  }

  function skipString(): void {
    const quote = text[at]!;
    const long = text.startsWith(quote.repeat(3), at);
    const end = long ? quote.repeat(3) : quote;
    for (at += end.length; at < text.length; at++) {
      if (quote === '"' && text[at] === "\\") at++;
      else if (text.startsWith(end, at)) {
        at += end.length;
        while (long && text[at] === quote) at++; // up to two quotes may stand before the closing three
        return;
      }
    }
  }
}

function unquote(quoted: string): string {
  if (quoted.startsWith("'")) return quoted.slice(1, -1);
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return quoted.slice(1, -1); // TOML knows escapes that JSON does not; only a place is at stake
  }
}
