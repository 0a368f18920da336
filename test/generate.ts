// Writes what is made from the configuration's schema: dist/schema.json, and the tables of README.md between
// `<!-- generated:config -->` and `<!-- /generated -->`. `npm run build` runs it; a test says when README is stale.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { configTables, jsonSchema } from "../src/config/mod.ts";

const BLOCK = /(<!-- generated:config -->\n)[\s\S]*?(\n<!-- \/generated -->)/;

/** README.md with its generated tables as they must be. Throws when the markers are missing. */
export function withConfigTables(readme: string): string {
  if (!BLOCK.test(readme)) {
    throw new Error("README.md lacks the lines <!-- generated:config --> and <!-- /generated -->");
  }
  return readme.replace(BLOCK, (_, begin: string, end: string) => `${begin}\n${configTables()}\n${end}`);
}

/** The path of a file of this repository. */
export function pathOf(name: string): string {
  return fileURLToPath(new URL(`../${name}`, import.meta.url));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(pathOf("dist"), { recursive: true });
  writeFileSync(pathOf("dist/schema.json"), `${JSON.stringify(jsonSchema(), null, 2)}\n`);
  const readme = pathOf("README.md");
  if (existsSync(readme)) {
    const before = readFileSync(readme, "utf8");
    const after = withConfigTables(before);
    if (after !== before) writeFileSync(readme, after);
  }
}
