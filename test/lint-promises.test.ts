import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("lint-promises.ts", import.meta.url));

function lint(t: TestContext, source: string) {
  const folder = mkdtempSync(join(tmpdir(), "kinesis-pulsar-lint-"));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "src"));
  writeFileSync(join(folder, "src", "a.ts"), source);
  const { status, stdout, stderr } = spawnSync("node", [
    "--import",
    import.meta.resolve("tsx"),
    SCRIPT,
    folder,
  ], {
    encoding: "utf8",
  });
  return { status, output: stdout + stderr };
}

const TICK = "async function tick(): Promise<void> {}\n";

test("lint: a promise that nobody awaits fails", (t) => {
  const { status, output } = lint(t, `${TICK}export function start(): void {\n  tick();\n}\n`);
  assert.equal(status, 1, output);
  assert.match(output, /src\/a\.ts:3:3 lint\/nursery\/noFloatingPromises/);
});

test("lint: a promise used as a condition fails", (t) => {
  const { status, output } = lint(t, `${TICK}export const state = (): string => tick() ? "a" : "b";\n`);
  assert.equal(status, 1, output);
  assert.match(output, /noMisusedPromises/);
});

test("lint: promises that are awaited, handled or explicitly let go pass", (t) => {
  const { status, output } = lint(
    t,
    `${TICK}export async function start(): Promise<void> {\n  void tick();\n  tick().catch(() => {});\n  await tick();\n}\n`,
  );
  assert.equal(status, 0, output);
});
