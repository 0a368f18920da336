// package.json (npm) and deno.json (Deno, jsr) say the same.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

const read = (name: string) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), "utf8"));
const npm = read("package.json");
const deno = read("deno.json");
const lock = read("package-lock.json");

test("manifests: Deno's imports are npm's dependencies, in the same versions", () => {
  const specifiers = Object.entries(npm.dependencies).map(([name, range]) => [name, `npm:${name}@${range}`]);
  assert.deepEqual(deno.imports, Object.fromEntries(specifiers));
});

test("manifests: version and licence are the same everywhere", () => {
  assert.equal(deno.version, npm.version);
  assert.equal(deno.license, npm.license);
  assert.equal(lock.version, npm.version);
  assert.match(
    readFileSync(new URL("../CHANGELOG.md", import.meta.url), "utf8"),
    new RegExp(`^## ${npm.version}\\b`, "m"),
  );
});

test("manifests: the lock file has the dependencies of package.json, and names no registry", () => {
  const fields = ["dependencies", "devDependencies", "peerDependencies", "peerDependenciesMeta", "engines"];
  for (const field of fields) assert.deepEqual(lock.packages[""][field], npm[field], field);
  assert.doesNotMatch(JSON.stringify(lock), /"resolved"/);
});

test("manifests: the lock file has every optional package, other platforms' too, as npm ci demands", () => {
  const missing: string[] = [];
  for (const [path, { optionalDependencies = {} }] of Object.entries<Locked>(lock.packages)) {
    for (const name of Object.keys(optionalDependencies)) {
      const places = [`${path}/node_modules/${name}`, `node_modules/${name}`];
      if (!places.some((place) => place in lock.packages)) missing.push(`${path} → ${name}`);
    }
  }
  assert.deepEqual(missing, []);
});

interface Locked {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

test("manifests: exports name the same modules, each built from its source", () => {
  assert.deepEqual(deno.exports, { ".": "./mod.ts", "./local": "./src/local/mod.ts" });
  for (const [name, source] of Object.entries<string>(deno.exports)) {
    const built = name === "." ? "mod" : name.slice(2);
    assert.deepEqual(npm.exports[name], { types: `./dist/${built}.d.ts`, default: `./dist/${built}.js` });
    assert.equal(`./${npm.tsup.entry[built]}`, source);
    assert.equal(npm.tsup.dts.entry[built], npm.tsup.entry[built]);
    assert.ok(existsSync(new URL(`../${source}`, import.meta.url)), source);
  }
  assert.deepEqual(npm.bin, { "kinesis-pulsar": "./dist/cli.js" });
  assert.equal(npm.tsup.entry.cli, "src/cli/main.ts");
});

test("manifests: the official Pulsar client, a native add-on, is an optional peer and nothing else", () => {
  const fields = Object.keys(npm).filter((name) =>
    /dependencies/i.test(name) && "pulsar-client" in npm[name]
  );
  assert.deepEqual(fields.sort(), ["peerDependencies", "peerDependenciesMeta"]);
  assert.deepEqual(npm.peerDependenciesMeta["pulsar-client"], { optional: true });
  assert.deepEqual(Object.keys(lock.packages).filter((path) => path.endsWith("/pulsar-client")), []);
});
