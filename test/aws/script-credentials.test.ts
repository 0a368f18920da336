// Credential scripts: what they may give, and what is said (and not said) when they fail.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { pathToFileURL } from "node:url";
import { openCredentials } from "../../src/aws/credentials.ts";
import type { ConnectorError } from "../../src/core/errors.ts";
import { everythingShown, kit, rejection, temporaryFile } from "./kit.ts";

// Long enough for JSON.parse to cut it where it quotes it.
const PARAM =
  '{"vault": "vault-password-of-many-words-that-nobody-would-remember-anyway", "nested": ["inner-password"], "user": "me"}';

async function open(t: TestContext, script: string, param: string | undefined = PARAM, name = "keys.mjs") {
  const path = await temporaryFile(t, name, script);
  const { options, clock, log } = kit();
  const importScript = (path: string) => import(pathToFileURL(path).href);
  return {
    path,
    clock,
    log,
    opened: openCredentials({ type: "script", path, param }, { ...options, importScript }),
  };
}

async function keysOf(t: TestContext, script: string, param?: string) {
  return await (await (await open(t, script, param)).opened)();
}

test("aws script: gives credentials, a provider, a factory of providers, or an object with one of these", async (t) => {
  const keys = '{ accessKeyId: "AKIDSCRIPT", secretAccessKey: "s", sessionToken: "t" }';
  for (
    const script of [
      `export default ${keys};`,
      `export default () => (${keys});`,
      `export default async () => (${keys});`,
      `export default async (param) => async () => (${keys});`,
      `export default { credentials: ${keys} };`,
      `export default { credentials: async () => (${keys}) };`,
      `export default () => ({ credentials: () => (${keys}) });`,
      `export const credentials = async () => (${keys});`,
      `export default { default: ${keys} };`,
    ]
  ) {
    assert.deepEqual(await keysOf(t, script), {
      accessKeyId: "AKIDSCRIPT",
      secretAccessKey: "s",
      sessionToken: "t",
    }, script);
  }
});

test("aws script: TypeScript is imported as the caller imports scripts", async (t) => {
  const script =
    'const id: string = "AKIDTYPED";\nexport default { accessKeyId: id, secretAccessKey: "s" } as const;\n';
  const { opened } = await open(t, script, undefined, "keys.mts");
  assert.equal((await (await opened)()).accessKeyId, "AKIDTYPED");
});

test("aws script: without an importer the runtime's own is used", async (t) => {
  const path = await temporaryFile(
    t,
    "keys.mjs",
    'export default { accessKeyId: "AKID", secretAccessKey: "s" };',
  );
  const provider = await openCredentials({ type: "script", path }, kit().options);
  assert.equal((await provider()).accessKeyId, "AKID");
});

test("aws script: gets the parameter, parsed where it is JSON", async (t) => {
  const script = 'export default (p) => ({ accessKeyId: p?.user ?? String(p), secretAccessKey: "s" });';
  assert.equal((await keysOf(t, script)).accessKeyId, "me");
  assert.equal((await keysOf(t, script, "not json")).accessKeyId, "not json");
});

test("aws script: is asked again when its credentials end, what made its provider is not", async (t) => {
  const global = globalThis as { scriptTime?: number };
  t.after(() => delete global.scriptTime);
  const head = `let made = 0, given = 0;
    const keys = () => ({
      accessKeyId: made + "." + ++given, secretAccessKey: "s",
      expiration: new Date(globalThis.scriptTime + 3_600_000).toISOString(),
    });\n`;
  const scripts: [string, string, string][] = [
    ["export default () => { made++; return keys; };", "1.1", "1.2"],
    ["export default () => { made++; return { credentials: keys }; };", "1.1", "1.2"],
    ["export default () => { made++; return { credentials: keys() }; };", "1.1", "2.2"],
    ["export const credentials = keys;", "0.1", "0.2"],
  ];
  for (const [script, first, second] of scripts) {
    global.scriptTime = Date.now();
    const { opened, clock } = await open(t, head + script);
    const provider = await opened;
    const keys = await provider();
    assert.equal(keys.accessKeyId, first);
    assert.ok(keys.expiration instanceof Date);
    await clock.advance(3_700_000);
    global.scriptTime = clock.now();
    assert.equal((await provider()).accessKeyId, second, script);
  }
});

test("aws script: one that is missing or does not load is named at start", async (t) => {
  const missing = await rejection(
    openCredentials({ type: "script", path: "/nowhere/keys.mjs" }, kit().options),
  );
  assert.equal((missing as ConnectorError).code, "CONFIG_INVALID");
  assert.match(missing.message, /^credential script \/nowhere\/keys\.mjs does not load: /);
  const { opened, path } = await open(t, 'throw new Error("no vault here");');
  const thrown = await rejection(opened) as ConnectorError;
  assert.equal(thrown.message, `credential script ${path} does not load: no vault here`);
  assert.equal(thrown.where.file, path);
  assert.ok(thrown.cause instanceof Error);
});

test("aws script: a wrong shape is named by its keys, never by values", async (t) => {
  const cases: [string, RegExp][] = [
    ["export default {};", /gives no text as accessKeyId and secretAccessKey \(it is empty\)/],
    [
      'export default { accessKey: "shown-never", secretKey: "shown-never" };',
      /gives no text as accessKeyId and secretAccessKey \(it has accessKey, secretKey\)/,
    ],
    [
      'export default () => ({ accessKeyId: "shown-never", secretAccessKey: " " });',
      /gives no text as secretAccessKey \(it has accessKeyId, secretAccessKey\)/,
    ],
    ['export default () => "shown-never";', /gives string, no credentials/],
    ["export default () => null;", /gives null, no credentials/],
    [
      'export default { accessKeyId: "a", secretAccessKey: "b", sessionToken: 5 };',
      /gives a sessionToken that is no text/,
    ],
    [
      'export default { accessKeyId: "a", secretAccessKey: "b", expiration: "shown-never" };',
      /gives an expiration that is no date/,
    ],
  ];
  for (const [script, words] of cases) {
    const error = await rejection((await open(t, script)).opened) as ConnectorError;
    assert.equal(error.code, "CONFIG_INVALID");
    assert.match(error.message, words);
    assert.match(error.message, /its default export must give \{ accessKeyId/);
    assert.doesNotMatch(everythingShown(error), /shown-never/);
  }
});

test("aws script: what it was given is hidden in its errors and in all their causes", async (t) => {
  const scripts = [
    'export default (p) => { throw new Error("login failed with " + p.vault + " and " + p.nested[0]); };',
    'export default async (p) => { throw new Error("outer", { cause: new Error("inner " + p.vault) }); };',
    "export default (p) => { throw JSON.stringify(p); };",
    'export default (p) => { throw Object.assign(new Error("first\\nsecond " + p.vault), { token: p.vault }); };',
    "export default (p) => JSON.parse(p.vault);",
    'export default (p) => { const e = new Error("x"); e.cause = e; e.stack = "at " + p.vault; throw e; };',
    'const key = "vault-password" "inner-password";',
    "export default () => { throw new Error(\"at line 1:\\n  const key = 'vault-password';\"); };",
  ];
  for (const script of scripts) {
    const { opened, path } = await open(t, script);
    const error = await rejection(opened) as ConnectorError;
    assert.match(
      error.message,
      new RegExp(`^credential script ${path.replaceAll("\\", "\\\\")} (failed|does not load): `),
    );
    assert.doesNotMatch(everythingShown(error), /vault-pas|inner-password/, script);
  }
});

test("aws script: one that fails is CREDENTIALS_INVALID; one that gets no answer may be tried again", async (t) => {
  const failed = await rejection((await open(t, 'export default () => { throw new Error("no"); };')).opened);
  assert.equal((failed as ConnectorError).code, "CREDENTIALS_INVALID");
  assert.equal((failed as ConnectorError).retryable, false);
  const refused =
    'export default () => { throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" }); };';
  const unanswered = await rejection((await open(t, refused)).opened);
  assert.equal((unanswered as ConnectorError).code, "AWS_UNAVAILABLE");
  assert.equal((unanswered as ConnectorError).retryable, true);
});

test("aws script: one that never ends is given up after 30 s", async (t) => {
  const { opened, clock, path } = await open(t, "export default () => new Promise(() => {});");
  const failed = rejection(opened);
  let over = false;
  failed.finally(() => over = true);
  await clock.advanceUntil(() => over, 40_000, 1000);
  assert.equal((await failed).message, `credential script ${path} gave no AWS credentials within 30 s`);
});
