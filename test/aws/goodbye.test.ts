// HTTP/2 connections that say goodbye must not take the process with them (src/core/late-destroy.ts).

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runtimeName } from "../../src/runtime.ts";

const PROGRAM = fileURLToPath(new URL("./goodbye-program.ts", import.meta.url));

test("http2: a GOAWAY, with streams and without, over TLS and in clear text, from both sides, ends no process", async () => {
  const args = runtimeName === "deno"
    ? ["run", "-A", PROGRAM]
    : ["--import", import.meta.resolve("tsx"), PROGRAM];
  const inherited = Object.entries(process.env).filter(([name]) => !/^NODE_(TEST|OPTIONS)/.test(name));
  // glibc fills freed memory with this byte: who reads it still, is found out at once and not one time in five.
  const env = { ...Object.fromEntries(inherited), MALLOC_PERTURB_: "165" };
  const { stdout } = await promisify(execFile)(process.execPath, [...args], { env });
  assert.equal(stdout, "all heard\n");
});
