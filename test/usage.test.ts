// The programs of the tests answer and refuse before they begin.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import assert from "node:assert/strict";
import { runtimeName } from "../src/runtime.ts";
import { judgeArguments } from "./usage.ts";

const root = new URL("../", import.meta.url);

/** Those that `npm run` starts, by its scripts, and two that it does not. */
const PROGRAMS = [
  ...Object.entries(JSON.parse(readFileSync(new URL("package.json", root), "utf8")).scripts)
    .filter(([name]) => /^(test|proof|bench)/.test(name))
    .map(([, command]) => String(command).split(" ").at(-1)!),
  "test/bench/codecs.ts",
  "test/bench/hooks.ts",
];

async function started(program: string, arg: string): Promise<{ code: number; out: string; err: string }> {
  const runner = runtimeName === "deno" ? ["run", "-A"] : ["--import", "tsx"];
  const child = spawn(process.execPath, [...runner, program, arg], { cwd: root, timeout: 60_000 });
  let [out, err] = ["", ""];
  child.stdout.on("data", (text) => out += text);
  child.stderr.on("data", (text) => err += text);
  const code = await new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? -1)));
  return { code, out, err };
}

test("usage: an option or a word that is not known ends a program with one line, and help with its usage", () => {
  const usage = {
    text: "usage",
    options: /^--(quick|rounds=\d+)$/,
    words: (word: string) => word === "kills",
  };
  assert.equal(judgeArguments(["--quick", "--rounds=3", "kills"], usage), undefined);
  assert.equal(judgeArguments([], { text: "usage" }), undefined);
  for (const help of [["--help"], ["-h"], ["--unknown", "--help"]]) {
    assert.deepEqual(judgeArguments(help, usage), { code: 0, say: "usage" });
  }
  for (const unknown of ["--quik", "--rounds=", "--quick=1", "-q", "kill"]) {
    const say = `unknown argument "${unknown}": --help shows what there is`;
    assert.deepEqual(judgeArguments(["--quick", unknown], usage), { code: 2, say });
    assert.deepEqual(judgeArguments([unknown], { text: "usage" }), { code: 2, say });
  }
});

test("usage: npm test, the proofs and all benchmarks refuse what they do not know, and help", async () => {
  assert.ok(PROGRAMS.includes("test/run.ts") && PROGRAMS.includes("test/proof/run.ts"), PROGRAMS.join());
  for (const program of PROGRAMS) {
    const refused = await started(program, "--nonsense");
    assert.deepEqual([refused.code, refused.out], [2, ""], `${program}: ${refused.err}`);
    assert.match(refused.err, /unknown argument "--nonsense": --help shows what there is\n$/);
  }
  for (const [program, word] of [["test/run.ts", "npm test"], ["test/proof/run.ts", "kills"]] as const) {
    const { code, out, err } = await started(program, "--help");
    assert.equal(code, 0, err);
    assert.ok(out.includes(word), out);
  }
});
