import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseDocument } from "../../src/config/document.ts";
import { parseJson } from "../../src/config/json-document.ts";
import { tomlPlaces } from "../../src/config/toml-places.ts";
import { loadConfigFile } from "../../src/config/mod.ts";
import { fileProblems, load, write } from "./kit.ts";

const TOML = `awsKinesisStreamName = "s"
awsRegion = "eu-west-1" # a comment with = and "quotes"
  numRetries = -1
[pulsar]
serviceUrl = """
pulsar://h"""
topic = 't'
auth = { type = "basic", user = "u", pasword = "p" }
[[hooks]]
path = "./a.mts"
options = { list = [1, { deep = "]}" }], date = 2026-01-01 07:00:00 }
[[hooks]]
path = "./b.mts"
retrys = 2
[ kinesis ]
"http2" = "perhaps"
`;

test("config document: TOML problems have line and column of their keys", async (t) => {
  assert.deepEqual(await fileProblems(t, "c.toml", TOML), [
    "file:3:3: numRetries = -1: must be an integer from 0 to 1000000",
    "file:8:1: pulsar.auth.password is missing: it must be text (in quotes)",
    'file:8:38: unknown key pulsar.auth.pasword: did you mean "password"?',
    'file:14:1: unknown key hooks[1].retrys: did you mean "retries"?',
    'file:16:1: kinesis.http2 = "perhaps": must be true or false',
  ]);
});

test("config document: YAML problems have line and column of their keys", async (t) => {
  const yaml = `awsKinesisStreamName: s
awsRegion: eu-west-1
pulsar: {serviceUrl: "pulsar://h", topic: t, chunkin: true}
hooks:
  - path: ./a.mts
  - path: ./b.mts
    retries: many
`;
  assert.deepEqual(await fileProblems(t, "c.yaml", yaml), [
    'file:3:46: unknown key pulsar.chunkin: did you mean "chunking"?',
    'file:7:5: hooks[1].retries = "many": must be an integer from 0 to 1000000',
  ]);
});

test("config document: JSON problems have line and column of their keys", async (t) => {
  const json = `{
\t"$schema": "./connector.schema.json",
\t"awsKinesisStreamName": "s", "awsRegion": "eu-west-1",
\t"pulsar": {"serviceUrl": "pulsar://h", "topic": "t"},
\t"hooks": [{"path": "./a.mts"}, {"path": "./b.mts", "onError": "ignore"}]
}`;
  assert.deepEqual(await fileProblems(t, "c.json", json), [
    'file:5:53: hooks[1].onError = "ignore": must be "stop", "skip" or "dead-letter"',
  ]);
});

test("config document: what cannot be parsed is told with its place and without its text", async (t) => {
  const faults: [string, string, RegExp][] = [
    ["a.toml", 'x = 1\nkey = "hush', /^file:2:7: this is not valid TOML: /],
    ["a.toml", "x = 1\nx = 2", /^file:2:1: this is not valid TOML: /],
    ["a.yaml", 'x: 1\nkey: "hush\n', /^file:\d:\d+: this is not valid YAML: a closing quote/],
    ["a.yaml", "x: 1\nx: 2\n", /^file:2:1: this is not valid YAML: the key is there twice$/],
    ["a.yaml", "x: *hush\n", /^file:1:4: this is not valid YAML: an alias without its anchor$/],
    ["a.yaml", "x: 1\n---\ny: 2\n", /^file:2:1: this is not valid YAML: several documents in one file/],
    ["a.json", '{"x": 1,\n "x": 2}', /^file:2:2: this is not valid JSON: the key "x" is there twice$/],
    ["a.json", '{"x": hush}', /^file:1:7: this is not valid JSON: expected a value/],
    ["a.json", '{"x": "hush}', /^file:1:13: this is not valid JSON: unexpected end of the file$/],
    ["a.json", '{"x": 1,}', /^file:1:9: this is not valid JSON: a comma after the last item$/],
    ["a.json", '{"x": "\\q hush"}', /^file:1:7: this is not valid JSON: a string with an escape/],
    ["a.json", "", /^file:1:1: this is not valid JSON: unexpected end of the file$/],
    ["a.json", '["a"]', /^file must be a table of keys/],
    ["a.yaml", "- a", /^file must be a table of keys/],
    ["a.yaml", "", /^file must be a table of keys/],
    ["a.properties", "x=1", /^file: the file's name must end with \.toml, \.yaml, \.yml or \.json/],
  ];
  for (const [name, text, wanted] of faults) {
    const [line, ...others] = await fileProblems(t, name, text);
    assert.match(line!, wanted, `${name}: ${text}`);
    assert.deepEqual(others, []);
    assert.ok(!line!.includes("hush"), line);
  }
});

test("config document: a file that cannot be read is told in words", async (t) => {
  const path = await write(t, "there.toml", "");
  await assert.rejects(loadConfigFile(`${path}.json`, {}), /there\.toml\.json: there is no such file/);
  await assert.rejects(loadConfigFile(`${path}/x.toml`, {}), /cannot be read \(ENOTDIR\)/);
  await assert.rejects(loadConfigFile(path.replace(/\/there\.toml$/, ""), {}), { code: "CONFIG_INVALID" });
});

test("config document: a byte order mark does no harm", async (t) => {
  const text =
    '\uFEFFawsKinesisStreamName = "s"\nawsRegion = "eu-west-1"\n[pulsar]\nserviceUrl = "pulsar://h"\ntopic = "t"\n';
  assert.equal((await load(t, "c.toml", text)).awsKinesisStreamName, "s");
});

test("config document: our JSON is JSON.parse's, for any value", () => {
  fc.assert(fc.property(fc.json(), fc.integer({ min: 0, max: 4 }), (text, indent) => {
    const value: unknown = JSON.parse(text);
    assert.deepEqual(parseJson(JSON.stringify(value, null, indent)).value, value);
  }));
});

test("config document: each place in a JSON file is that of its key", () => {
  const key = fc.string({ minLength: 1, maxLength: 5 });
  const object = fc.dictionary(key, fc.oneof(fc.string(), fc.dictionary(key, fc.integer())));
  fc.assert(fc.property(object, (value) => {
    const text = JSON.stringify(value, null, 1);
    const textLines = text.split("\n");
    const { places } = parseJson(text);
    for (const { line, column } of places.values()) assert.equal(textLines[line - 1]?.[column - 1], '"');
    assert.equal(new Set([...places.values()].map((place) => `${place.line}`)).size, places.size);
  }));
});

test("config document: the TOML place finder ends on any text", () => {
  const pieces = fc.constantFrom(
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    '"',
    '"""',
    "'",
    "\n",
    "a",
    ".",
    ",",
    "#",
    "\\",
    " ",
    "1",
  );
  fc.assert(fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
    assert.ok(tomlPlaces(parts.join("")) instanceof Map);
  }));
});

test("config document: all TOML ways to write a key are found", async () => {
  const text =
    "a.b = 1\n\"x y\" = 2\n[t.u]\n'q'.r = [\n  1,\n  # no\n  { s = 3 },\n]\n[[l]]\n[[l.m]]\nn = 1\n[[l.m]]\nn = 2\n";
  const { places } = await parseDocument("x.toml", text);
  const found = [...places].map(([key, { line, column }]) => `${key} ${line}:${column}`);
  for (
    const wanted of [
      "a 1:1",
      "a.b 1:3",
      '"x y" 2:1',
      "t.u 3:4",
      "t.u.q.r 4:5",
      "t.u.q.r[1].s 7:5",
      "l[0].m[0].n 11:1",
      "l[0].m[1].n 13:1",
    ]
  ) assert.ok(found.includes(wanted), `${wanted} in ${found.join(", ")}`);
});
