// Reads JSON out of bytes that arrive in chunks, without ever making one string of them: a page of 10 MiB would cost
// three times that in strings. Whatever is no complete value yet is kept, and read again from `mark` when more came.

import { Buffer } from "node:buffer";

/** Thrown when a value goes on beyond the bytes that have come: `rewind()`, then try again after more. */
export const INCOMPLETE: Error = new Error("more bytes are needed");

/** A string's bytes between its quotes; valid until the next `push`. */
export interface Text {
  start: number;
  end: number;
  /** ASCII without escapes: its bytes are its characters. */
  plain: boolean;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_BYTES = 128 * 1024;
/** Buffers are used again, unless a large record made them large. */
const KEPT_BYTES = 256 * 1024;
const KEPT_BUFFERS = 32;
const kept: Buffer[] = [];
/** Long texts become strings in pieces of at most so many bytes. */
const LARGEST_PIECE = 32 * 1024;

/** A place in a JSON text. The methods throw INCOMPLETE, and SyntaxError for what is no JSON. */
export class JsonBytes {
  #bytes: Buffer = NOTHING;
  #at = 0;
  #end = 0;
  #mark = 0;
  /** A long value is looked at again only when twice as much of it is there. */
  #wanted = 0;
  /** How long the last long string was: the next one is probably as long. */
  #lastLength = 1024;

  /** Adds bytes (a copy). False = too few to be worth a try. */
  push(chunk: Uint8Array): boolean {
    if (this.#bytes === NOTHING) this.#bytes = kept.pop() ?? Buffer.allocUnsafeSlow(FIRST_BYTES);
    const left = this.#end - this.#mark;
    const needed = left + chunk.length;
    if (needed > this.#bytes.length - this.#mark) {
      const old = this.#bytes;
      if (needed > old.length) this.#bytes = Buffer.allocUnsafeSlow(Math.max(needed, old.length * 2));
      old.copy(this.#bytes, 0, this.#mark, this.#end);
      this.#mark = 0;
    }
    this.#bytes.set(chunk, this.#mark + left);
    this.#end = this.#mark + needed;
    this.#at = this.#mark;
    return needed >= this.#wanted;
  }

  /** What was read so far is done with. */
  mark(): void {
    this.#mark = this.#at;
  }

  /** Back to the mark: the rest was incomplete. */
  rewind(): void {
    this.#at = this.#mark;
    this.#wanted = 2 * (this.#end - this.#mark);
  }

  /** Nothing but blanks is left. */
  get isAtEnd(): boolean {
    this.#skipBlanks();
    return this.#at === this.#end;
  }

  /** Its memory is for others; the reader is not used any more. */
  close(): void {
    const bytes = this.#bytes;
    this.#bytes = NOTHING;
    this.#at = this.#end = this.#mark = 0;
    if (bytes.length > 0 && bytes.length <= KEPT_BYTES && kept.length < KEPT_BUFFERS) kept.push(bytes);
  }

  /** Takes this byte if it is the next one behind blanks. */
  takes(byte: number): boolean {
    this.#skipBlanks();
    if (this.#at === this.#end) throw INCOMPLETE;
    if (this.#bytes[this.#at] !== byte) return false;
    this.#at++;
    return true;
  }

  /** Takes this byte, which has to come next. */
  expect(byte: number): void {
    if (!this.takes(byte)) throw malformed();
  }

  /** Whether a string comes next. */
  get isString(): boolean {
    this.#skipBlanks();
    if (this.#at === this.#end) throw INCOMPLETE;
    return this.#bytes[this.#at] === QUOTE;
  }

  /** Takes a string. */
  text(into: Text): void {
    this.expect(QUOTE);
    const bytes = this.#bytes;
    const end = this.#end;
    let plain = true;
    for (let at = this.#at; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === QUOTE) {
        into.start = this.#at;
        into.end = at;
        into.plain = plain;
        this.#at = at + 1;
        return;
      }
      if (byte === BACKSLASH) at++;
      if (byte === BACKSLASH || byte < 0x20 || byte > 0x7e) plain = false;
    }
    throw INCOMPLETE;
  }

  /**
   * Takes a string that is probably long and without escapes, such as Base64: looked through by the runtime's own
   * search, in strings (that of bytes takes 30 times as long on Deno). `plain` is not known then: false.
   */
  longText(into: Text): void {
    const before = this.#at;
    this.expect(QUOTE);
    const start = this.#at;
    const piece = Math.min(this.#lastLength + 16, LARGEST_PIECE);
    for (let from = start; from < this.#end; from += piece) {
      const to = Math.min(from + piece, this.#end);
      const found = this.#bytes.toString("latin1", from, to).indexOf('"');
      if (found < 0) continue;
      const end = from + found;
      if (this.#bytes[end - 1] === BACKSLASH) { // perhaps not the end
        this.#at = before;
        return this.text(into);
      }
      into.start = start;
      into.end = end;
      into.plain = false;
      this.#lastLength = Math.max(end - start, 256);
      this.#at = end + 1;
      return;
    }
    throw INCOMPLETE;
  }

  /** The string of a text. */
  string({ start, end, plain }: Text): string {
    if (plain) return this.#bytes.toString("latin1", start, end);
    return parse(this.#bytes.toString("utf8", start - 1, end + 1)) as string;
  }

  /** Takes exactly these bytes if they come next and are all there. */
  takesWord(word: Uint8Array): boolean {
    this.#skipBlanks();
    const at = this.#at;
    const bytes = this.#bytes;
    if (at + word.length > this.#end) return false;
    for (let index = 0; index < word.length; index++) {
      if (bytes[at + index] !== word[index]) return false;
    }
    this.#at = at + word.length;
    return true;
  }

  /** A piece of a text as one character a byte. */
  latin1(start: number, end: number): string {
    return this.#bytes.toString("latin1", start, end);
  }

  /** Takes a number; NaN when something else comes. */
  number(): number {
    this.#skipBlanks();
    const bytes = this.#bytes;
    const start = this.#at;
    for (let at = start; at < this.#end; at++) {
      const byte = bytes[at]!;
      // digits, + - . E e
      if (
        (byte >= 0x30 && byte <= 0x39) || byte === 0x2e || byte === 0x2d || byte === 0x2b ||
        (byte | 0x20) === 0x65
      ) {
        continue;
      }
      if (at === start) return NaN;
      this.#at = at;
      return Number(bytes.toString("latin1", start, at));
    }
    throw INCOMPLETE;
  }

  /** Takes any value and gives it as JSON.parse does. */
  value(): unknown {
    this.#skipBlanks();
    const start = this.#at;
    for (let depth = 0; this.#at < this.#end;) {
      const byte = this.#bytes[this.#at]!;
      const opens = byte === 0x5b || byte === 0x7b;
      const closes = byte === 0x5d || byte === 0x7d;
      if (depth === 0 && this.#at > start && (closes || byte === 0x2c || byte <= 0x20)) break;
      if (byte === QUOTE) this.text(ignored);
      else this.#at++;
      if (opens) depth++;
      if (closes) depth--;
      if (depth <= 0 && (closes || byte === QUOTE)) {
        return parse(this.#bytes.toString("utf8", start, this.#at));
      }
    }
    if (this.#at === this.#end) throw INCOMPLETE;
    return parse(this.#bytes.toString("latin1", start, this.#at));
  }

  #skipBlanks(): void {
    const bytes = this.#bytes;
    let at = this.#at;
    while (at < this.#end && isBlank(bytes[at]!)) at++;
    this.#at = at;
  }
}

function isBlank(byte: number): boolean {
  return byte <= 0x20 && (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

const NOTHING: Buffer = Buffer.alloc(0);
const ignored: Text = { start: 0, end: 0, plain: false };

/** The parser's own words quote what it read, somebody's data: they are left out. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed();
  }
}

/** What is thrown for text that is no JSON. */
export function malformed(): SyntaxError {
  return new SyntaxError("no JSON");
}
