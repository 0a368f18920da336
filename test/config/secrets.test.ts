import assert from "node:assert/strict";
import { test } from "node:test";
import { redact, secretPaths } from "../../src/config/mod.ts";
import { parse, small } from "./kit.ts";

test("config secrets: the schema names them", () => {
  assert.deepEqual([...secretPaths].sort(), [
    "awsCredentialPluginParam",
    "hooks[].options",
    "pulsar.auth.clientSecret",
    "pulsar.auth.password",
    "pulsar.auth.token",
  ]);
});

test("config secrets: a redacted configuration shows none, and everything else", () => {
  const input = {
    ...small,
    awsCredentialPluginParam: '{"accessKey":"HUSH1","secretKey":"HUSH2","sessionToken":"HUSH3"}',
    pulsar: { ...small.pulsar, auth: { type: "basic", user: "u", password: "HUSH4" } },
    hooks: [{ path: "./a.mts", options: { apiKey: "HUSH5", nested: { x: "HUSH6" } } }],
  };
  const config = parse(input);
  const shown = redact(config);
  const text = JSON.stringify(shown);
  assert.ok(!text.includes("HUSH"), text);
  assert.ok(JSON.stringify(config).includes("HUSH5"), "the configuration itself is untouched");
  assert.equal((shown["pulsar"] as { auth: { user: string } }).auth.user, "u");
  assert.deepEqual((shown["hooks"] as { options: unknown }[])[0]!.options, {
    apiKey: "(hidden)",
    nested: "(hidden)",
  });
  assert.equal(shown["checkpointInterval"], 60_000);
});

test("config secrets: the object as it was written can be redacted too, also a wrong one", () => {
  const raw = {
    configs: { awsCredentialPluginParam: "HUSH", awsEndpoint: "http://a:HUSH@h" },
    pulsar: { auth: { type: "tokn", token: "HUSH", clientSecret: "HUSH" } },
    hooks: "HUSH?",
  };
  const text = JSON.stringify(redact(raw));
  assert.equal(text.match(/HUSH/g)?.length ?? 0, 1, text); // a hooks key that is no list has no secret we could know
});
