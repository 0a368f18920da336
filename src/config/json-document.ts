// JSON with places: JSON.parse keeps none, takes duplicate keys silently, and words its errors (with pieces of the
// text, so perhaps of secrets) differently on each runtime.

import { type KeyPath, pathText, type Place, placeFinder, type Places } from "./paths.ts";

/** Thrown by {@link parseJson}; the message shows nothing of the text. */
export class JsonSyntaxError extends Error {
  readonly place: Place;

  constructor(message: string, place: Place) {
    super(message);
    this.place = place;
  }
}

/** Parses JSON (RFC 8259, no duplicate keys). Throws {@link JsonSyntaxError}. */
export function parseJson(text: string): { value: unknown; places: Places } {
  const places: Places = new Map();
  const placeAt = placeFinder(text);
  let at = 0;
  skipBlank();
  const value = readValue([]);
  skipBlank();
  if (at < text.length) fail("expected the end of the file");
  return { value, places };

  function fail(message: string, offset = at): never {
    const what = offset >= text.length ? "unexpected end of the file" : message;
    throw new JsonSyntaxError(what, placeAt(Math.min(offset, text.length)));
  }

  function skipBlank(): void {
    while (" \t\r\n".includes(text[at] ?? "x")) at++;
  }

  function readValue(path: KeyPath): unknown {
    if (text[at] === "{") return readObject(path);
    if (text[at] === "[") return readList(path);
    if (text[at] === '"') return readString();
    const match = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y;
    match.lastIndex = at;
    const word = match.exec(text)?.[0];
    if (word === undefined) {
      fail("expected a value: a string in double quotes, a number, true, false, null, { or [");
    }
    at += word.length;
    return JSON.parse(word);
  }

  function readObject(path: KeyPath): unknown {
    const entries = new Map<string, unknown>();
    at++;
    skipBlank();
    while (text[at] !== "}") {
      const start = at;
      if (text[at] !== '"') fail("expected a key in double quotes");
      const key = readString();
      if (entries.has(key)) fail(`the key ${JSON.stringify(key)} is there twice`, start);
      places.set(pathText([...path, key]), placeAt(start));
      skipBlank();
      if (text[at] !== ":") fail("expected a colon");
      at++;
      skipBlank();
      entries.set(key, readValue([...path, key]));
      next("}");
    }
    at++;
    return Object.fromEntries(entries);
  }

  function readList(path: KeyPath): unknown {
    const items: unknown[] = [];
    at++;
    skipBlank();
    while (text[at] !== "]") {
      places.set(pathText([...path, items.length]), placeAt(at));
      items.push(readValue([...path, items.length]));
      next("]");
    }
    at++;
    return items;
  }

  function next(closing: string): void {
    skipBlank();
    if (text[at] === closing) return;
    if (text[at] !== ",") fail(`expected a comma or ${closing}`);
    at++;
    skipBlank();
    if (text[at] === closing) fail("a comma after the last item");
  }

  function readString(): string {
    const start = at;
    for (at++; at < text.length && text[at] !== '"'; at++) {
      if (text[at] === "\n") fail("a string that does not end on its line", start);
      if (text[at] === "\\") at++;
    }
    if (at >= text.length) fail("a string without an end");
    at++;
    try {
      return JSON.parse(text.slice(start, at)) as string;
    } catch {
      fail("a string with an escape or a control character that JSON does not know", start);
    }
  }
}
