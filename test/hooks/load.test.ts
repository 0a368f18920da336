import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { ConnectorError } from "../../src/core/errors.ts";
import { checkHooks } from "../../src/hooks/check.ts";
import {
  HOOK_DEFAULTS,
  inlineHooks,
  type LoadedHooks,
  loadHooks,
  type LoadOptions,
} from "../../src/hooks/load.ts";
import { records, testChain, texts } from "./chains.ts";
import { scriptFolder } from "./scripts.ts";

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const load = (
  path: string,
  options: LoadOptions = {},
  settings: Record<string, unknown> = {},
): Promise<LoadedHooks> =>
  loadHooks({ ...HOOK_DEFAULTS, path, options: { mark: "!", who: "you" }, ...settings }, {
    key: "hooks[0].path",
    ...options,
  });

// What Node 20 says to any TypeScript: the next loader has to take it.
const withoutTypeScript = (): Promise<never> =>
  Promise.reject(
    Object.assign(new TypeError('Unknown file extension ".ts"'), { code: "ERR_UNKNOWN_FILE_EXTENSION" }),
  );

async function publishes(loaded: LoadedHooks, ...payloads: string[]): Promise<unknown[]> {
  const { options, hooks } = loaded;
  const chain = testChain([]);
  const { createHookChain } = await import("../../src/hooks/chain.ts");
  const run = createHookChain({
    scripts: [{ ...loaded, hooks, options }],
    topic: "out",
    messageKeyMode: "PARTITION_KEY",
    kinesisRecordProperties: [],
    eventTime: "none",
    streamName: "s",
    log: chain.log,
    metrics: chain.metrics,
    clock: chain.clock,
    runtime: "node",
    signal: chain.abort.signal,
  }).processPage(records(...payloads), { shardId: "s", millisBehindLatest: 0 }, chain.abort.signal);
  return texts((await run.next())!);
}

async function failure(loading: Promise<unknown>): Promise<ConnectorError> {
  const error = await loading.then(() => assert.fail("it loaded"), (error) => error as ConnectorError);
  assert.equal(error.code, "HOOK_LOAD_FAILED", String(error));
  return error;
}

const loaders: [string, LoadOptions][] = [
  ["the runtime", {}],
  ["jiti", { nativeImport: withoutTypeScript }],
];
for (const [how, options] of loaders) {
  test(`hooks load: default objects, named exports, functions and instances load by ${how}`, async (t) => {
    const script = scriptFolder(t);
    assert.deepEqual(await publishes(await load(script("default-object.ts"), options), "a"), ["A!"]);
    assert.deepEqual(await publishes(await load(script("named.mts"), options), "short", "too long"), [
      "short",
      null,
    ]);
    assert.deepEqual(await publishes(await load(fixture("function.mjs"), options), "a"), ["made for you"]);
    assert.deepEqual(await publishes(await load(fixture("instance.js"), options), "a"), ["seen a"]);
    assert.deepEqual(await publishes(await load(fixture("common.cjs"), options), "a"), [null]);
  });

  test(`hooks load: npm packages, relative files and top-level await work by ${how}`, async () => {
    const loaded = await load(fixture("npm-import.mts"), options);
    assert.deepEqual(await publishes(loaded, 'name = "x"'), ["X top level"]);
  });

  test(`hooks load: a script that takes a value from "kinesis-pulsar" gets this very module by ${how}`, async (t) => {
    const self = () => Promise.resolve({ greeting: "hello" });
    const path = scriptFolder(t)("value-import.ts");
    assert.deepEqual(await publishes(await load(path, { ...options, self }), "a"), ["hello"]);
  });

  test(`hooks load: a syntax error is said with file, line and column by ${how}`, async (t) => {
    const script = scriptFolder(t);
    for (const name of ["syntax.ts", "syntax.mjs", "syntax-inside.mjs"] as const) {
      const error = await failure(load(script(name), options));
      const file = script(name === "syntax-inside.mjs" ? "syntax.mjs" : name);
      assert.ok(error.message.startsWith(`the hook script ${script(name)} does not load: `), error.message);
      const at = error.message.indexOf(` (${file}:3:1`);
      assert.match(
        error.message.slice(at + file.length),
        /:3:1\d\)\. Correct the script, or hooks\[0\]\.path/,
      );
      assert.deepEqual([error.where.file, error.where.line], [file, 3]);
      assert.ok(error.cause instanceof Error);
      assert.doesNotMatch(error.message, /\n/);
    }
  });

  test(`hooks load: what a script throws while loading is said with its line by ${how}`, async () => {
    const error = await failure(load(fixture("throws.ts"), options));
    assert.match(error.message, /throws\.ts does not load: no luck at the top \(.*throws\.ts:3/);
    assert.equal(error.where.line, 3);
    assert.equal((error.cause as Error).message, "no luck at the top");
  });

  test(`hooks load: an import that is not there is said with the importing line by ${how}`, async (t) => {
    const script = scriptFolder(t);
    const file = await failure(load(script("missing-import.mjs"), options));
    assert.match(file.message, /nowhere\.mjs/);
    assert.deepEqual([file.where.file, file.where.line], [script("missing-import.mjs"), 2]);
    const package_ = await failure(load(script("missing-package.mjs"), options));
    assert.match(package_.message, /no-such-package-here/);
    assert.deepEqual([package_.where.file, package_.where.line], [script("missing-package.mjs"), 1]);
  });
}

test("hooks load: a name that an imported file does not export is said with the importing line", async (t) => {
  const path = scriptFolder(t)("missing-export.mjs");
  const error = await failure(load(path));
  assert.match(error.message, /does not provide an export named/);
  assert.deepEqual([error.where.file, error.where.line], [path, 2]);
});

test("hooks load: TypeScript that cannot be stripped loads all the same", async (t) => {
  const path = scriptFolder(t)("enum.ts");
  const unsupported = () =>
    Promise.reject(Object.assign(new SyntaxError("enum"), { code: "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX" }));
  assert.deepEqual(await publishes(await load(path), "a"), ["an order"]);
  assert.deepEqual(await publishes(await load(path, { nativeImport: unsupported }), "a"), ["an order"]);
});

test("hooks load: a default inside of the default export is found", async () => {
  const nested = { nativeImport: () => Promise.resolve({ default: { default: { onRecord: () => null } } }) };
  assert.deepEqual(await publishes(await load(fixture("function.mjs"), nested), "a"), [null]);
});

test("hooks load: only named errors are given to the second loader, all others are the script's own", async () => {
  const other = () => Promise.reject(new Error("the script's own"));
  assert.match(
    (await failure(load(fixture("throws.ts"), { nativeImport: other }))).message,
    /the script's own/,
  );
});

test("hooks load: a default function that fails is said with its line", async () => {
  const error = await failure(load(fixture("factory-throws.mjs")));
  assert.match(error.message, /does not start: its default function failed: .*\(.*factory-throws\.mjs:2/);
});

test("hooks load: a script whose loading never ends is given up after timeoutMs", async () => {
  const { clock } = testChain([]);
  const waits: [string, LoadOptions][] = [
    ["a top-level await", { nativeImport: () => new Promise(() => {}) }],
    ["a default function", { nativeImport: () => Promise.resolve({ default: () => new Promise(() => {}) }) }],
  ];
  for (const [what, options] of waits) {
    let error: ConnectorError | undefined;
    const failed = failure(load(fixture("throws.ts"), { ...options, clock }, { timeoutMs: 700 }))
      .then((one) => error = one);
    await clock.advanceUntil(() => clock.sleeping > 0 || error !== undefined, 5_000);
    await clock.advance(700);
    await failed;
    assert.match(error!.message, /throws\.ts \(hooks\[0\]\.path\) is not loaded after timeoutMs = 700/, what);
    assert.equal(clock.sleeping, 0);
  }
});

test("hooks load: a path that is missing, a folder, or no script is said with its configuration key", async (t) => {
  const script = scriptFolder(t);
  const missing = await failure(load(script("not-there.ts")));
  assert.match(missing.message, /^hooks\[0\]\.path = ".*not-there\.ts": there is no such file/);
  assert.equal(missing.where.key, "hooks[0].path");
  assert.match((await failure(load(script(".")))).message, /this is a folder/);
  assert.match(
    (await failure(load(script("hooks.py")))).message,
    /a script's name ends in \.js, \.mjs, \.cjs, \.ts, \.mts, \.cts/,
  );
});

test("hooks load: scripts whose names have blanks load, and their errors are located", async (t) => {
  const script = scriptFolder(t);
  await load(script("good one.mjs"));
  const error = await failure(load(script("bad one.mjs")));
  assert.deepEqual([error.where.file, error.where.line], [script("bad one.mjs"), 2]);
});

test("hooks load: what exports no proper hooks is refused in words", async () => {
  const f = () => {};
  const cases: [unknown, RegExp][] = [
    [{ default: { onRecrod: f } }, /has an unknown hook onRecrod \(did you mean onRecord\?\)/],
    [{ onRecrod: f }, /unknown hook onRecrod \(did you mean onRecord\?\)/],
    [{ default: { onrecord: f } }, /unknown hook onrecord \(did you mean onRecord\?\)/],
    [
      { default: { onSomething: f, onRecord: f } },
      /unknown hook onSomething \(hooks are onStart, .*onStop\)/,
    ],
    [{ default: { onRecord: "x" } }, /has a string as onRecord, where a function is needed/],
    [{ default: { onRecord: null, onStop: 5 } }, /null as onRecord, .*; and it has a number as onStop/],
    [{ default: { onRecord: f, onBatch: f } }, /has both onRecord and onBatch/],
    [{ default: {} }, /has no hooks: export at least one of onStart/],
    [{ helper: f }, /has no hooks/],
    [{}, /has no hooks/],
    [{ default: [f] }, /exports an array as default/],
    [{ default: 5 }, /exports a number as default, not a set of hooks/],
    [{ default: () => {} }, /default function that returns nothing/],
    [{ default: () => f }, /default function that returns a function/],
    [{ default: class {} }, /exports a class as default: export an instance/],
    [{ default: { onRecord: f }, onStart: f }, /a default export and, beside it, the export onStart/],
  ];
  for (const [module, pattern] of cases) {
    const error = await failure(
      load(fixture("function.mjs"), { nativeImport: () => Promise.resolve(module) }),
    );
    assert.match(error.message, pattern);
    assert.match(error.message, /^the hook script .*function\.mjs \(hooks\[0\]\.path\) /);
  }
});

test("hooks load: helpers beside hooks are the script's own business", () => {
  const f = () => {};
  assert.ok("hooks" in checkHooks({ onRecord: f, once: f, online: true, restart: f, onStop: undefined }));
});

test("hooks load: builtin:NAME names what there is, and resolves it once hooks are shipped", async () => {
  const builtin = (path: string, builtins?: LoadOptions["builtins"]) =>
    loadHooks({ ...HOOK_DEFAULTS, path }, { key: "hooks[2].path", builtins });
  assert.match(
    (await failure(builtin("builtin:filter"))).message,
    /^hooks\[2\]\.path = "builtin:filter": there is no ready-made hook of this name \(this version ships none/,
  );
  const builtins = { filter: () => Promise.resolve({ default: { onRecord: () => null } }) };
  assert.match(
    (await failure(builtin("builtin:fliter", builtins))).message,
    /known are builtin:filter; did you mean builtin:filter\?/,
  );
  assert.deepEqual(await publishes(await builtin("builtin:filter", builtins), "a"), [null]);
});

test("hooks load: each policy for failures is kept", async () => {
  for (const onError of ["stop", "skip", "dead-letter"] as const) {
    assert.equal((await load(fixture("function.mjs"), {}, { onError })).onError, onError);
  }
});

test("hooks load: hooks given as an object are checked as those of scripts", () => {
  const loaded = inlineHooks({ onRecord: () => null }, { onError: "skip" });
  assert.deepEqual([loaded.name, loaded.onError, loaded.retries, loaded.timeoutMs, loaded.concurrency], [
    "hooks",
    "skip",
    0,
    30_000,
    16,
  ]);
  assert.throws(
    () => inlineHooks({ onRecrod: () => null } as never),
    /the given hooks cannot be used: the object has an unknown hook onRecrod/,
  );
});
