// The promise lint: a promise that nobody awaits is a loop that can die unnoticed. Biome reports it as information
// with exit code 0, so this script turns any finding into a failure. `npm run lint` runs it.
//   node --import tsx test/lint-promises.ts [FOLDER]     FOLDER/src; default: this project's

import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const RULES = ["--only=nursery/noFloatingPromises", "--only=nursery/noMisusedPromises"];

const lint = spawnSync(join(root, "node_modules", ".bin", "biome"), ["lint", ...RULES, "src"], {
  cwd: process.argv[2] ?? root,
  encoding: "utf8",
  env: { ...process.env, NO_COLOR: "1" },
});
const output = `${lint.stdout ?? ""}${lint.stderr ?? ""}`;
const checked = /^Checked (\d+) files?/m.exec(output);
if (lint.status !== 0 || checked === null || /^Found /m.test(output)) {
  process.stderr.write(`${output}${lint.error?.message ?? ""}\nThe promise lint failed.\n`);
  process.exitCode = 1;
} else {
  process.stdout.write(`promise lint: ${checked[0]}\n`);
}
