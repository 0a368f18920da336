// What is wrong with a configuration, and what its owner should know: collected, so that all of it is said at once.

import { ConnectorError } from "../core/errors.ts";
import { findPlace, type KeyPath, pathText, type Place, type Places } from "./paths.ts";
import { showValue } from "./secrets.ts";

/** One fault of a configuration. */
export interface Problem {
  /** The key path as the file has it. */
  readonly key: string;
  /** The whole sentence, without file and line. */
  readonly message: string;
  readonly place?: Place | undefined;
}

/** Collects problems and warnings, and knows where keys come from. */
export class Findings {
  readonly source: string | undefined;
  readonly problems: Problem[] = [];
  readonly warnings: string[] = [];
  /** Those of them that are about the leases. */
  readonly leaseWarnings: string[] = [];
  readonly #places: Places;
  readonly #origins = new Map<string, KeyPath>();

  constructor(source?: string, places: Places = new Map()) {
    this.source = source;
    this.#places = places;
  }

  /** Says that the key `path` of the configuration stands at `filePath` in the file. */
  moved(path: KeyPath, filePath: KeyPath): void {
    this.#origins.set(pathText(path), filePath);
  }

  /** The key's path in the file. */
  filePath(path: KeyPath): KeyPath {
    for (let length = path.length; length > 0; length--) {
      const origin = this.#origins.get(pathText(path.slice(0, length)));
      if (origin) return [...origin, ...path.slice(length)];
    }
    return path;
  }

  /** `file:line:column` of a key, `file` where it has no place, "" without a file. */
  placeOf(path: KeyPath): string {
    return this.#prefix(findPlace(this.#places, this.filePath(path)));
  }

  /** Something is wrong at `path`; `words` go on after the key's name. */
  problem(path: KeyPath, words: string): void {
    this.problemInFile(this.filePath(path), words);
  }

  /** The same for a key as the file has it. */
  problemInFile(filePath: KeyPath, words: string): void {
    this.#add(filePath, `${pathText(filePath)}${words}`);
  }

  /** The value at `path` is not what it must be. */
  wrongValue(path: KeyPath, value: unknown, allowed: string): void {
    this.problem(path, ` = ${showValue(path, value)}: must be ${allowed}`);
  }

  /** Whether something was said already about this key, or about a key inside or around it. */
  isReported(path: KeyPath): boolean {
    const text = pathText(this.filePath(path));
    return this.problems.some(({ key }) => key === text || isInside(key, text) || isInside(text, key));
  }

  /** A key that is not known. */
  unknownKey(path: KeyPath, hint: string): void {
    this.unknownKeyInFile(this.filePath(path), hint);
  }

  /** The same for a key as the file has it. */
  unknownKeyInFile(filePath: KeyPath, hint: string): void {
    this.#add(filePath, `unknown key ${pathText(filePath)}${hint === "" ? "" : `: ${hint}`}`);
  }

  /** @param about "leases" = also for who only looks at the lease table */
  warn(message: string, about: "run" | "leases" = "run"): void {
    this.warnings.push(message);
    if (about === "leases") this.leaseWarnings.push(message);
  }

  /** The problems as lines `file:line:column: what`, in the file's order. */
  lines(): string[] {
    return this.#sorted().map((problem) => {
      const prefix = this.#prefix(problem.place);
      return prefix === "" ? problem.message : `${prefix}: ${problem.message}`;
    });
  }

  /** All problems as one error; its `where` is the first one's. */
  toError(): ConnectorError {
    const first = this.#sorted()[0];
    return configError("CONFIG_INVALID", this.lines(), "problems", {
      file: this.source,
      line: first?.place?.line,
      key: first?.key,
    });
  }

  #add(filePath: KeyPath, message: string): void {
    this.problems.push({ key: pathText(filePath), message, place: findPlace(this.#places, filePath) });
  }

  #sorted(): Problem[] {
    const line = ({ place }: Problem) => place?.line ?? 0;
    const column = ({ place }: Problem) => place?.column ?? 0;
    return this.problems.toSorted((a, b) => line(a) - line(b) || column(a) - column(b));
  }

  #prefix(place: Place | undefined): string {
    if (this.source === undefined) return "";
    return place ? `${this.source}:${place.line}:${place.column}` : this.source;
  }
}

function isInside(inner: string, outer: string): boolean {
  return inner.startsWith(`${outer}.`) || inner.startsWith(`${outer}[`);
}

/** One error of one or several lines. */
export function configError(
  code: "CONFIG_INVALID" | "NOT_YET",
  lines: readonly string[],
  noun: string,
  where: ConnectorError["where"],
): ConnectorError {
  const message = lines.length === 1
    ? lines[0]!
    : `${lines.length} ${noun} in the configuration:\n${lines.map((line) => `  ${line}`).join("\n")}`;
  return new ConnectorError(message, { code, where });
}
