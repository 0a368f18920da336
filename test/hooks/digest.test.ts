import { test, type TestContext } from "node:test";
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type DigestOptions, hooksDigest } from "../../src/hooks/digest.ts";
import { RecordingLogger } from "../fakes.ts";

type Files = Readonly<Record<string, string>>;

/** The digest of `main.ts` among these files, in a folder of their own. */
async function digestOf(t: TestContext, files: Files, options: Partial<DigestOptions> = {}) {
  const folder = await mkdtemp(join(tmpdir(), "kinesis-pulsar-digest-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  const log = new RecordingLogger();
  const scripts = "main.ts" in files
    ? [{ path: join(folder, "main.ts"), options: {}, onError: "stop" as const, ...options.scripts?.[0] }]
    : [];
  const digest = await hooksDigest({ inline: [], routing: {}, version: "1", log, ...options, scripts });
  return { digest, log };
}

const MAIN = 'import { keep } from "./lib/keep.ts";\nexport default { onRecord: keep };\n';
const FILES: Files = { "main.ts": MAIN, "lib/keep.ts": "export const keep = () => null;\n" };

test("hooks digest: the same scripts give the same in every folder", async (t) => {
  const first = await digestOf(t, FILES);
  const second = await digestOf(t, { ...FILES, "unused.ts": "1" });
  assert.match(first.digest, /^[0-9a-f]{64}$/);
  assert.equal(second.digest, first.digest);
});

test("hooks digest: a change of a script, or of a file that it imports, however deep, gives another", async (t) => {
  const deep = {
    ...FILES,
    "lib/keep.ts": 'export * from "../deep/a";\n',
    "deep/a.mjs": 'import "./b.json";\n',
  };
  const base = await digestOf(t, { ...deep, "deep/b.json": "{}" });
  const changes: Files[] = [
    { ...deep, "deep/b.json": "{} " },
    { ...deep, "deep/b.json": "{}", "deep/a.mjs": 'import "./b.json"; 1;\n' },
    { ...deep, "deep/b.json": "{}", "main.ts": MAIN + "// new\n" },
    { ...deep }, // the file is gone
  ];
  const digests = await Promise.all(changes.map(async (files) => (await digestOf(t, files)).digest));
  assert.equal(new Set([base.digest, ...digests]).size, changes.length + 1);
});

test("hooks digest: circles of imports end", async (t) => {
  const circle = { "main.ts": 'import "./other.ts";', "other.ts": 'import "./main.ts";' };
  assert.match((await digestOf(t, circle)).digest, /^[0-9a-f]{64}$/);
});

test("hooks digest: each way to name a relative file is followed", async (t) => {
  const ways = [
    'import x from "./x.mjs";',
    "import './x.mjs';",
    'export { x } from "./x.mjs";',
    'const x = await import("./x.mjs");',
    "const x = await import(`./x.mjs`);",
    'const x = require("./x.mjs");',
    'import {\n  a,\n  b,\n} from "./x.mjs";',
  ];
  for (const way of ways) {
    const [a, b] = await Promise.all(
      ["1", "2"].map((text) => digestOf(t, { "main.ts": way, "x.mjs": text })),
    );
    assert.notEqual(a!.digest, b!.digest, way);
    assert.deepEqual(a!.log.entries, [], way);
  }
});

test("hooks digest: an import that only the run decides is said", async (t) => {
  for (const text of ["await import(name);", "await import(`./${name}.ts`);", "require(which)"]) {
    const { log } = await digestOf(t, { "main.ts": text });
    assert.match(log.messages("debug").join(), /main\.ts imports what only its run decides/, text);
  }
});

test("hooks digest: options, policy, order of keys, routing and the program's version", async (t) => {
  const path = (await digestOf(t, {})).digest; // no scripts at all
  const of = async (options: Partial<DigestOptions>) => (await digestOf(t, FILES, options)).digest;
  const folder = await mkdtemp(join(tmpdir(), "kinesis-pulsar-digest-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const main = join(folder, "main.mjs");
  await writeFile(main, "export default {};");
  const log = new RecordingLogger();
  const digest = (
    options: object,
    onError: "stop" | "skip" = "stop",
    routing = {},
    version = "1",
    file = main,
  ) =>
    hooksDigest({
      scripts: [{ path: file, options: options as Record<string, unknown>, onError }],
      inline: [],
      routing,
      version,
      log,
    });
  const base = await digest({ a: 1, b: { c: [1, 2], d: 2 } });
  assert.equal(await digest({ b: { d: 2, c: [1, 2] }, a: 1 }), base);
  assert.equal(await digest({ a: 1, b: { c: [1, 2], d: 2 } }, "stop", {}, "2"), base);
  const others = await Promise.all([
    digest({ a: 1, b: { c: [2, 1], d: 2 } }),
    digest({ a: 1, b: { c: [1, 2], d: 2 } }, "skip"),
    digest({ a: 1, b: { c: [1, 2], d: 2 } }, "stop", { topic: "out" }),
    digest({}, "stop", {}, "1", "builtin:filter"),
    digest({}, "stop", {}, "2", "builtin:filter"),
    of({}),
  ]);
  assert.equal(new Set([base, path, ...others]).size, others.length + 2);
});

test("hooks digest: hooks given as objects count by their functions' text", async (t) => {
  const of = async (hooks: DigestOptions["inline"]) => (await digestOf(t, {}, { inline: hooks })).digest;
  const a = await of([{ onRecord: () => null }]);
  assert.equal(await of([{ onRecord: () => null }]), a);
  assert.notEqual(await of([{ onRecord: () => undefined }]), a);
  assert.notEqual(await of([{ onRecord: () => null }, {}]), a);
});

test("hooks digest: a script that cannot be read is named", async () => {
  const options = {
    scripts: [{ path: "/nowhere/hook.ts", options: {}, onError: "stop" as const }],
    inline: [],
    routing: {},
    version: "1",
    log: new RecordingLogger(),
  };
  await assert.rejects(hooksDigest(options), { code: "HOOK_LOAD_FAILED", message: /\/nowhere\/hook\.ts/ });
});
