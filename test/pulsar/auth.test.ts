// Where credentials come from, without a broker: read anew, trimmed, named in errors and never shown; an issuer's
// tokens renewed ahead of their end.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import { importScript } from "../../src/hooks/import.ts";
import { type AuthChoice, openAuth } from "../../src/pulsar/auth/open.ts";
import { oauth2Supplier } from "../../src/pulsar/auth/oauth2.ts";
import type { AuthSupplier } from "../../src/pulsar/auth/supplier.ts";
import { securityFaults } from "../../src/pulsar/security.ts";
import { FakeClock, RecordingLogger, settle } from "../fakes.ts";

const TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJIVVNIIn0.aaaa-bbbb_cccc";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "kinesis-pulsar-auth-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function open(choice: AuthChoice, env: Record<string, string> = {}): Promise<AuthSupplier> {
  return openAuth(choice, { clock: new FakeClock(), log: new RecordingLogger(), env, importScript });
}

async function data(supplier: AuthSupplier): Promise<string | undefined> {
  const bytes = await supplier.authData();
  return bytes && Buffer.from(bytes).toString();
}

async function fault(work: () => Promise<unknown>): Promise<ConnectorError> {
  const error = await work().then(() => assert.fail("it gave something"), (error) => error);
  assert.ok(error instanceof ConnectorError, String(error));
  assert.doesNotMatch(`${error.message} ${error.cause} ${JSON.stringify(error)}`, /HUSH|eyJ/);
  return error;
}

test("pulsar auth: a token comes from the text, a file or a variable, trimmed, and anew each time", async (t) => {
  const file = join(folder(t), "token");
  const env: Record<string, string> = { TOKEN: `${TOKEN} ` };
  const text = await open({ type: "token", token: `token:${TOKEN}\n` });
  assert.deepEqual([text.method, text.source, await data(text)], ["token", "pulsar.auth.token", TOKEN]);
  writeFileSync(file, `  ${TOKEN}\r\n`);
  const fromFile = await open({ type: "token", file });
  assert.equal(await data(fromFile), TOKEN);
  writeFileSync(file, "next");
  assert.equal(await data(fromFile), "next");
  const fromEnv = await open({ type: "token", env: "TOKEN" }, env);
  assert.equal(await data(fromEnv), TOKEN);
  env["TOKEN"] = "next";
  assert.equal(await data(fromEnv), "next");
});

test("pulsar auth: a token that is missing, empty or no token names its key and place, not its value", async (t) => {
  const empty = join(folder(t), "empty");
  writeFileSync(empty, " \n");
  const lines = join(folder(t), "lines");
  writeFileSync(lines, `HUSH\n${TOKEN}\n`);
  const cases: [AuthChoice, RegExp, string][] = [
    [
      { type: "token", token: "token: " },
      /^no token from pulsar\.auth\.token: it is empty$/,
      "pulsar.auth.token",
    ],
    [
      { type: "token", file: "/gone" },
      /pulsar\.auth\.file \(\/gone\): there is no such file$/,
      "pulsar.auth.file",
    ],
    [{ type: "token", file: empty }, /pulsar\.auth\.file \(.*empty\): it is empty$/, "pulsar.auth.file"],
    [
      { type: "token", file: lines },
      /it holds white space: there must be the token alone$/,
      "pulsar.auth.file",
    ],
    [
      { type: "token", env: "GONE" },
      /pulsar\.auth\.env \(the variable GONE\): it is not set$/,
      "pulsar.auth.env",
    ],
    [{ type: "token", env: "BLANK" }, /\(the variable BLANK\): it is empty$/, "pulsar.auth.env"],
  ];
  for (const [choice, words, key] of cases) {
    const supplier = await open(choice, { BLANK: " " });
    const error = await fault(() => supplier.authData());
    assert.deepEqual([error.code, error.retryable, error.where.key], ["CONFIG_INVALID", false, key]);
    assert.match(error.message, words);
    const [early] = await securityFaults({ auth: choice }, { BLANK: " " }, 0);
    assert.equal(early?.message, error.message, "validate says the same");
  }
});

test("pulsar auth: validate tells of a token that says itself that it has ended, without showing it", async (t) => {
  const ending = (exp: unknown): string =>
    `e30.${Buffer.from(JSON.stringify({ exp })).toString("base64url")}.x`;
  const file = join(folder(t), "token");
  writeFileSync(file, ending(1000));
  const env = { T: ending(1000), OTHER: ending("soon") };
  const faults = async (source: object, now: number): Promise<string[]> =>
    (await securityFaults({ auth: { type: "token", ...source } }, env, now)).map(({ message, where }) =>
      `${where.key}: ${message}`
    );
  const why = "expired on 1970-01-01T00:16:40.000Z: give a new one";
  for (
    const [source, words] of [
      [{ token: ending(1000) }, `pulsar.auth.token: the token of pulsar.auth.token ${why}`],
      [{ file }, `pulsar.auth.file: the token of pulsar.auth.file (${file}) ${why}`],
      [{ env: "T" }, `pulsar.auth.env: the token of pulsar.auth.env (the variable T) ${why}`],
    ] as const
  ) {
    assert.deepEqual(await faults(source, 1_000_000), [words]);
    assert.deepEqual(await faults(source, 999_999), []);
  }
  assert.deepEqual(await faults({ env: "OTHER" }, 1_000_000), []);
});

test("pulsar auth: a script gives a token as text or by a function, which is called each time", async (t) => {
  const path = folder(t);
  const script = (name: string, text: string): AuthChoice => {
    writeFileSync(join(path, name), text);
    return { type: "token", script: join(path, name) };
  };
  assert.equal(await data(await open(script("a.mjs", `export default " ${TOKEN}\\n"`))), TOKEN);
  assert.equal(await data(await open(script("b.mjs", `export default () => "${TOKEN}"`))), TOKEN);
  const counted = await open(script("c.mts", "let n: number = 0; export default async () => `token${++n}`"));
  assert.deepEqual([await data(counted), await data(counted)], ["token1", "token2"]);
  assert.equal(await data(await open(script("d.cjs", "module.exports = () => 'common'"))), "common");
  const bad: [string, string, RegExp][] = [
    [
      "e.mjs",
      "export const token = 1",
      /e\.mjs\): it exports undefined; its default export must be the token/,
    ],
    ["f.mjs", "export default () => ({})", /f\.mjs\): it gives object; its default export must be/],
    ["g.mjs", "export default () => ''", /g\.mjs\): it is empty$/],
    ["h.mjs", `throw new Error("no ${TOKEN}")`, /h\.mjs\): it does not load: no \(hidden\)$/],
  ];
  for (const [name, text, words] of bad) {
    const error = await fault(async () => (await open(script(name, text))).authData());
    assert.equal(error.code, "CONFIG_INVALID");
    assert.match(error.message, words);
  }
  const failing = await open(script("i.mjs", `export default () => { throw new Error("${TOKEN} is bad") }`));
  const failed = await fault(() => failing.authData());
  assert.deepEqual([failed.code, failed.retryable], ["PULSAR_NOT_AUTHORIZED", false]);
  const port = await closedPort();
  const away = await open(script("j.mjs", `export default () => fetch("http://127.0.0.1:${port}/")`));
  const unanswered = await fault(() => away.authData());
  assert.deepEqual(
    [unanswered.code, unanswered.retryable],
    ["PULSAR_NOT_AUTHORIZED", true],
    unanswered.message,
  );
});

/** A port where nobody listens. */
function closedPort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

test("pulsar auth: a script that never answers is given up after 30 s", async () => {
  const clock = new FakeClock();
  const importScript = () => Promise.resolve({ default: () => new Promise(() => {}) });
  const supplier = await openAuth({ type: "token", script: "/s.mjs" }, {
    clock,
    log: new RecordingLogger(),
    env: {},
    importScript,
  });
  const answer = fault(() => supplier.authData());
  await clock.advance(30_000);
  assert.match((await answer).message, /it gave none within 30 s$/);
  assert.equal(clock.sleeping, 0);
});

test("pulsar auth: user and password are sent as they are, a certificate's method sends nothing", async () => {
  const basic = await open({ type: "basic", user: "größe", password: "a:b c" });
  assert.deepEqual([basic.method, await data(basic)], ["basic", "größe:a:b c"]);
  const tls = await open({ type: "tls", certFile: "/c", keyFile: "/k" });
  assert.deepEqual([tls.method, await data(tls)], ["tls", undefined]);
  assert.deepEqual([(await open({ type: "none" })).method], ["none"]);
});

test("pulsar auth: a key file is a path or a data: URL, read each time; what is wrong with it shows nothing of it", async (t) => {
  const file = join(folder(t), "key.json");
  const { fetch, requests } = issuer();
  const ask = (keyFile: string) => {
    const options = { type: "oauth2" as const, issuerUrl: "https://i", keyFile };
    const previous = globalThis.fetch;
    globalThis.fetch = fetch;
    t.after(() => globalThis.fetch = previous);
    return open(options);
  };
  const key = JSON.stringify({ type: "client_credentials", client_id: "me", client_secret: "HUSH1" });
  writeFileSync(file, key);
  const fromFile = await ask(file);
  await data(fromFile);
  fromFile.refused!();
  writeFileSync(file, key.replace("HUSH1", "HUSH2"));
  await data(fromFile);
  await data(await ask(`data:application/json;base64,${Buffer.from(key).toString("base64")}`));
  await data(await ask(`data:,${encodeURIComponent(key)}`));
  assert.deepEqual(requests.map(({ client_secret }) => client_secret), ["HUSH1", "HUSH2", "HUSH1", "HUSH1"]);
  for (
    const text of [
      "HUSH",
      "{}",
      '{"client_id": "me", "client_secret": ""}',
      '{"client_secret": "HUSH"',
      "null",
    ]
  ) {
    writeFileSync(file, text);
    for (const keyFile of [file, `data:,${text}`]) {
      const error = await fault(async () => (await ask(keyFile)).authData());
      assert.match(
        error.message,
        /^no OAuth2 client from pulsar\.auth\.keyFile \((.*key\.json|a data: URL)\): it /,
      );
      assert.equal(error.code, "CONFIG_INVALID");
    }
  }
  assert.match(
    (await fault(async () => (await ask("/gone")).authData())).message,
    /\/gone\): there is no such file/,
  );
});

/** An issuer as fetch sees it. */
function issuer(lifetime: unknown = 100): {
  fetch: typeof fetch;
  requests: Record<string, string>[];
  answer: { status: number; body: unknown } | "hang" | "refuse" | undefined;
} {
  const state = {
    requests: [] as Record<string, string>[],
    answer: undefined as { status: number; body: unknown } | "hang" | "refuse" | undefined,
    async fetch(url: unknown, init?: RequestInit): Promise<Response> {
      const { answer } = state;
      if (answer === "hang") return await new Promise(() => {});
      if (answer === "refuse") {
        throw new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED") });
      }
      if (answer !== undefined) return Response.json(answer.body, { status: answer.status });
      if (init?.method !== "POST") {
        assert.equal(url, "https://i/.well-known/openid-configuration");
        return Response.json({ token_endpoint: "https://i/token" });
      }
      assert.equal(url, "https://i/token");
      state.requests.push(Object.fromEntries(init.body as URLSearchParams));
      return Response.json({ access_token: `access${state.requests.length}`, expires_in: lifetime });
    },
  };
  return state as never;
}

function oauth2(t: TestContext, from: ReturnType<typeof issuer>, issuerUrl = "https://i/") {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const client = () => Promise.resolve({ clientId: "me", clientSecret: "HUSH" });
  const supplier = oauth2Supplier(
    { issuerUrl, audience: "urn:pulsar", scope: "produce all", source: "test", client },
    { clock, log, fetch: (...args) => from.fetch(...args) },
  );
  t.after(() => supplier.close?.());
  return { supplier, clock, log };
}

test("pulsar auth: one request gets the token for all who ask, and again only ahead of its end", async (t) => {
  const server = issuer("100");
  const { supplier, clock } = oauth2(t, server);
  assert.deepEqual(await Promise.all([data(supplier), data(supplier)]), ["access1", "access1"]);
  assert.deepEqual(server.requests, [{
    grant_type: "client_credentials",
    client_id: "me",
    client_secret: "HUSH",
    audience: "urn:pulsar",
    scope: "produce all",
  }]);
  await clock.advance(84_000);
  assert.equal(await data(supplier), "access1");
  assert.equal(server.requests.length, 1);
  await clock.advance(1_500); // past 85 %: the fake clock's dice show the middle of 80 to 90
  for (let turn = 0; turn < 20; turn++) await settle(); // bodies of answers are read in turns of their own
  assert.equal(server.requests.length, 2, "renewed by itself");
  assert.equal(await data(supplier), "access2");
  supplier.refused!();
  assert.equal(await data(supplier), "access3", "what a broker refused is not given again");
  supplier.close!();
  await settle();
  assert.equal(clock.sleeping, 0);
});

test("pulsar auth: while the issuer is away the present token serves until its end, and this is said", async (t) => {
  const server = issuer();
  const { supplier, clock, log } = oauth2(t, server);
  await data(supplier);
  server.answer = "refuse";
  await clock.advance(99_000);
  assert.equal(await data(supplier), "access1");
  assert.match(
    log.messages("warn")[0]!,
    /^the OAuth2 access token could not be renewed, the present one is valid for 15 s more: no access token from the OAuth2 issuer https:\/\/i\/: .* cannot be reached: connect ECONNREFUSED$/,
  );
  assert.ok(log.messages("warn").length > 2, "it tries again");
  assert.doesNotMatch(JSON.stringify(log.entries), /HUSH/);
  await clock.advance(2_000);
  const error = await fault(() => supplier.authData());
  assert.deepEqual([error.code, error.retryable], ["PULSAR_NOT_AUTHORIZED", true]);
  server.answer = undefined;
  assert.equal(await data(supplier), "access2");
});

test("pulsar auth: an issuer's refusal is final, a failure is not, and neither shows the secret", async (t) => {
  const server = issuer();
  const { supplier, clock } = oauth2(t, server);
  const cases: [NonNullable<typeof server.answer>, boolean, RegExp][] = [
    [
      { status: 404, body: "no such page" },
      false,
      /openid-configuration answers 404\. Check pulsar\.auth: issuerUrl/,
    ],
    [
      { status: 401, body: { error: "invalid_client", error_description: "HUSH is wrong" } },
      false,
      /answers 401 \(invalid_client: \(hidden\) is wrong\)\. Check pulsar\.auth/,
    ],
    [{ status: 503, body: {} }, true, /answers 503$/],
    [{ status: 429, body: {} }, true, /answers 429$/],
    [{ status: 200, body: 5 }, false, /answers with what is no JSON object/],
    [{ status: 200, body: {} }, false, /its configuration names no token_endpoint/],
    [{ status: 200, body: { token_endpoint: "http://i/token" } }, false, /token_endpoint is not encrypted/],
    [{ status: 200, body: { token_endpoint: "https://i/token" } }, false, /its answer holds no access_token/],
    ["refuse", true, /cannot be reached: connect ECONNREFUSED$/],
  ];
  for (const [answer, retryable, words] of cases) {
    server.answer = answer;
    const error = await fault(() => supplier.authData());
    assert.deepEqual([error.code, error.retryable], ["PULSAR_NOT_AUTHORIZED", retryable], error.message);
    assert.match(error.message, words);
  }
  server.answer = "hang";
  const late = fault(() => supplier.authData());
  await clock.advance(10_000);
  assert.match((await late).message, /did not answer within 10 s$/);
  assert.equal(clock.sleeping, 0);
});

test("pulsar auth: a token without a told lifetime is asked for each time", async (t) => {
  const server = issuer(null);
  const { supplier, clock } = oauth2(t, server, "https://i");
  assert.deepEqual([await data(supplier), await data(supplier)], ["access1", "access2"]);
  assert.equal(clock.sleeping, 0);
});
