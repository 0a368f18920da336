// Finding the official client, and what is said when it is not there or does not load.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { loadPulsarClient } from "../../../src/pulsar/native/load.ts";

/** A folder with a package of that name in it. */
function project(t: TestContext, code?: string): string {
  const folder = mkdtempSync(join(tmpdir(), "kinesis-pulsar-load-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const place = join(folder, "node_modules", "pulsar-client");
  if (code === undefined) return folder;
  mkdirSync(place, { recursive: true });
  writeFileSync(
    join(place, "package.json"),
    '{ "name": "pulsar-client", "version": "1.0.0", "main": "index.js" }',
  );
  writeFileSync(join(place, "index.js"), code);
  return folder;
}

const LOADS = "module.exports = { Client: class {}, here: __dirname };";

test("pulsar native: the package is found from the first folder that has it, or where the variable says", (t) => {
  const [empty, first, second] = [project(t), project(t, LOADS), project(t, LOADS)];
  const found = loadPulsarClient({ folders: [empty, first, second] }) as unknown as { here: string };
  assert.ok(found.here.includes(first.split("/").at(-1)!));
  const packageFolder = join(second, "node_modules", "pulsar-client");
  const named = loadPulsarClient({ packageFolder, folders: [first] }) as unknown as { here: string };
  assert.ok(named.here.includes(second.split("/").at(-1)!));
});

test("pulsar native: a package that is missing or does not load gives one line that says what to do", (t) => {
  const empty = project(t);
  const refused = (load: () => unknown, ...words: RegExp[]): void =>
    assert.throws(load, (error: Error & { code: string }) => {
      assert.equal(error.code, "CONFIG_INVALID");
      assert.doesNotMatch(error.message, /\n/);
      for (const word of [/^pulsar\.driver = "pulsar-client": /, /npm install pulsar-client/, ...words]) {
        assert.match(error.message, word);
      }
      return true;
    });
  refused(
    () => loadPulsarClient({ folders: [empty] }),
    /is not installed: run "npm install pulsar-client" in /,
  );
  refused(
    () => loadPulsarClient({ folders: [project(t, 'require("./lib/binding/pulsar.node");')] }),
    /does not load \(.*Cannot find module.*pulsar\.node/,
    /--allow-ffi/,
    /prebuilt/,
  );
  refused(
    () => loadPulsarClient({ folders: [project(t, "module.exports = {};")] }),
    /is not the official client/,
  );
  refused(() => loadPulsarClient({ packageFolder: join(empty, "nowhere"), folders: [] }), /does not load/);
});
