import { test } from "node:test";
import assert from "node:assert/strict";
import { compareRuntimes, readJunit, type TestNames } from "./compare-runtimes.ts";

const names = (passed: string[], skipped: string[] = [], failed: string[] = []): TestNames => ({
  passed: new Set(passed),
  skipped: new Set(skipped),
  failed: new Set(failed),
  twice: new Set(),
});

test("runtimes: the same tests passed on both is no problem", () => {
  assert.deepEqual(compareRuntimes(names(["a", "b"]), names(["b", "a"]), true), []);
});

test("runtimes: a test that one runtime did not run, skipped or failed is a problem", () => {
  assert.deepEqual(compareRuntimes(names(["a", "b"]), names(["a"]), false), [
    '"b" passed on node, but did not run on deno',
  ]);
  assert.deepEqual(compareRuntimes(names(["a"], ["b"]), names(["a", "b"]), false), [
    '"b" passed on deno, but was skipped on node',
  ]);
  assert.deepEqual(compareRuntimes(names(["a"]), names([], [], ["a"]), false), ['"a" failed on deno']);
});

test("runtimes: a test skipped on both is a problem in CI only", () => {
  const both = names(["a"], ["broker"]);
  assert.deepEqual(compareRuntimes(both, both, false), []);
  assert.equal(compareRuntimes(both, both, true).length, 2);
});

test("runtimes: reports of both runners are read, quotes and angle brackets included", () => {
  const node = readJunit(`<testsuites>
	<testcase name="a: one" time="0.001" classname="test"/>
	<testcase name="a: two" time="0.0"><skipped type="skipped" message="no java"/>
	</testcase>
	<testcase name="a: &lt;three> &amp; &amp;quot;q&amp;quot;" time="0.1" classname="test"/>
	<testcase name="a: bad"><failure type="x">boom</failure></testcase>
	<testcase name="a: one" time="0.001" classname="test"/>
</testsuites>`);
  const deno = readJunit(`<testcase name="a: &lt;three&gt; &amp; &quot;q&quot;" line="4" col="1">
        </testcase>`);
  assert.deepEqual([...node.passed], ["a: one", 'a: <three> & "q"']);
  assert.deepEqual([...node.skipped], ["a: two"]);
  assert.deepEqual([...node.failed], ["a: bad"]);
  assert.deepEqual([...node.twice], ["a: one"]);
  assert.deepEqual([...deno.passed], ['a: <three> & "q"']);
});
