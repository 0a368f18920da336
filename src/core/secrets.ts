// Errors of scripts and processes that we did not write, made fit to be shown (G8): without the secrets that we know,
// and without source lines, which runtimes print above a syntax error.

import { messageOf } from "./errors.ts";

const HIDDEN = "(hidden)";
// Shorter ones would make holes in every word.
const SHORTEST_SECRET = 4;
// Deeper causes say nothing that a person needs; also bounds circles.
const DEEPEST_CAUSE = 5;
// A JSON Web Token (RFC 7519): two Base64 parts that begin a JSON object, and a signature. Hidden also when unknown.
const JSON_WEB_TOKEN = /\beyJ[\w-]+\.eyJ[\w-]+(\.[\w-]*)?/g;

/** A text with every known secret hidden. */
export function hideSecrets(text: string, secrets: readonly string[]): string {
  return secrets.filter((secret) => secret.length >= SHORTEST_SECRET)
    .toSorted((a, b) => b.length - a.length)
    .reduce((left, secret) => left.replaceAll(secret, HIDDEN), text)
    .replace(JSON_WEB_TOKEN, HIDDEN);
}

/** An error's first line, fit to be shown. */
export function safeWords(error: unknown, secrets: readonly string[]): string {
  // JSON.parse quotes what it was given, cut to a length: no longer the secret that we know.
  if (error instanceof SyntaxError && error.message.includes("JSON")) {
    return "what it parsed is not valid JSON";
  }
  return hideSecrets(messageOf(error).split("\n", 1)[0]!, secrets);
}

/** A copy of an error and its causes that may be logged: name, words, and the places of the stack. */
export function safeCause(error: unknown, secrets: readonly string[], depth = 0): Error {
  const words = safeWords(error, secrets);
  const cause = error instanceof Error && error.cause !== undefined && depth < DEEPEST_CAUSE
    ? { cause: safeCause(error.cause, secrets, depth + 1) }
    : undefined;
  const copy = new Error(words, cause);
  copy.name = error instanceof Error ? error.name : "Error";
  const stack = error instanceof Error ? error.stack ?? "" : "";
  const places = stack.split("\n").filter((line) => /^\s+at /.test(line));
  copy.stack = hideSecrets([`${copy.name}: ${words}`, ...places].join("\n"), secrets);
  return copy;
}
