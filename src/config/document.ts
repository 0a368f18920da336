// A configuration file's text as a value, with the place of each key. The format goes by the file's extension.

import { extname } from "node:path";
import { ConnectorError } from "../core/errors.ts";
import { JsonSyntaxError, parseJson } from "./json-document.ts";
import { type KeyPath, pathText, type Place, placeFinder, type Places } from "./paths.ts";
import { tomlPlaces } from "./toml-places.ts";

// Some of yaml's own messages quote a piece of the text, so perhaps of a secret: ours go by the error's code.
const YAML_FAULTS: Readonly<Record<string, string>> = {
  BAD_ALIAS: "an alias without its anchor",
  BAD_DQ_ESCAPE: "an unknown escape in a string in double quotes",
  BAD_INDENT: "the indentation does not fit the lines before",
  BAD_SCALAR_START: "a value that starts so must be in quotes",
  BLOCK_AS_IMPLICIT_KEY: "a second colon: put the value in quotes, or on lines of its own",
  DUPLICATE_KEY: "the key is there twice",
  MISSING_CHAR: "a closing quote, bracket, comma or colon is missing",
  MULTILINE_IMPLICIT_KEY: "a key over several lines (is a colon missing?)",
  MULTIPLE_DOCS: "several documents in one file (---)",
  TAB_AS_INDENT: "a tab as indentation: use blanks",
  UNEXPECTED_TOKEN: "something that does not belong here",
};

/** A parsed file. */
export interface ConfigDocument {
  readonly value: unknown;
  readonly places: Places;
}

/**
 * Parses `text` as the extension of `file` says: .toml, .yaml, .yml or .json.
 * @throws ConnectorError CONFIG_INVALID with file, line and column; it shows nothing of the text.
 */
export async function parseDocument(file: string, text: string): Promise<ConfigDocument> {
  const source = text.replace(/^\uFEFF/, "");
  switch (extname(file).toLowerCase()) {
    case ".toml":
      return await parseToml(file, source);
    case ".yaml":
    case ".yml":
      return await parseYaml(file, source);
    case ".json":
      try {
        return parseJson(source);
      } catch (error) {
        if (!(error instanceof JsonSyntaxError)) throw error;
        throw syntaxError(file, "JSON", error.message, error.place);
      }
    default:
      throw new ConnectorError(
        `${file}: the file's name must end with .toml, .yaml, .yml or .json, which says how to read it`,
        { code: "CONFIG_INVALID", where: { file } },
      );
  }
}

async function parseToml(file: string, text: string): Promise<ConfigDocument> {
  const { parse, TomlError } = await import("smol-toml");
  try {
    return { value: parse(text), places: tomlPlaces(text) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // Behind the first line stands the text around the fault, which may hold a secret.
    const message = error.message.split("\n", 1)[0]!.replace("Invalid TOML document: ", "");
    throw syntaxError(file, "TOML", message, { line: error.line, column: error.column });
  }
}

async function parseYaml(file: string, text: string): Promise<ConfigDocument> {
  const yaml = await import("yaml");
  const document = yaml.parseDocument(text, { prettyErrors: false, merge: true });
  const placeAt = placeFinder(text);
  const fault = document.errors[0];
  if (fault) {
    const words = YAML_FAULTS[fault.code] ?? fault.code.toLowerCase().replaceAll("_", " ");
    throw syntaxError(file, "YAML", words, placeAt(Math.min(fault.pos[0], text.length)));
  }
  const places: Places = new Map();
  note(document.contents, []);
  try {
    return { value: document.toJS({ maxAliasCount: 100 }), places };
  } catch {
    throw syntaxError(file, "YAML", "aliases (*name) that cannot be followed", { line: 1, column: 1 });
  }

  function note(node: unknown, path: KeyPath): void {
    if (yaml.isAlias(node) && node.resolve(document) === undefined) {
      throw syntaxError(file, "YAML", YAML_FAULTS["BAD_ALIAS"]!, placeAt(node.range?.[0] ?? 0));
    }
    if (yaml.isMap(node)) {
      for (const { key, value } of node.items) {
        if (!yaml.isScalar(key)) continue;
        const keyPath = [...path, String(key.value)];
        if (key.range) places.set(pathText(keyPath), placeAt(key.range[0]));
        note(value, keyPath);
      }
    } else if (yaml.isSeq(node)) {
      for (const [index, item] of node.items.entries()) {
        const itemPath = [...path, index];
        if (yaml.isNode(item) && item.range) places.set(pathText(itemPath), placeAt(item.range[0]));
        note(item, itemPath);
      }
    }
  }
}

function syntaxError(file: string, format: string, message: string, place: Place): ConnectorError {
  return new ConnectorError(
    `${file}:${place.line}:${place.column}: this is not valid ${format}: ${message}`,
    {
      code: "CONFIG_INVALID",
      where: { file, line: place.line },
    },
  );
}
