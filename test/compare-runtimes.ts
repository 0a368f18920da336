// Which tests passed on each runtime, and what is wrong when the lists differ. A test that passes on one runtime
// only is a defect, unless it stands in DIFFERENCES with the reason that README gives too.

/** Names that passed, failed or were skipped, by a runner's JUnit report. */
export interface TestNames {
  readonly passed: ReadonlySet<string>;
  readonly failed: ReadonlySet<string>;
  readonly skipped: ReadonlySet<string>;
  /** Names that stand more than once: they could hide one another. */
  readonly twice: ReadonlySet<string>;
}

/** Tests that only one runtime can pass, each with the documented difference. */
export const DIFFERENCES: Readonly<
  Record<string, { readonly only: "node" | "deno"; readonly because: string }>
> = {};

/** Reads a JUnit report of Node's or Deno's runner: flat test cases. */
export function readJunit(xml: string): TestNames {
  const passed = new Set<string>();
  const failed = new Set<string>();
  const skipped = new Set<string>();
  const twice = new Set<string>();
  for (const match of xml.matchAll(/<testcase name="([^"]*)"[^>]*?(\/>|>([\s\S]*?)<\/testcase>)/g)) {
    const name = unescape(match[1]!);
    const inside = match[3] ?? "";
    if (passed.has(name) || failed.has(name) || skipped.has(name)) twice.add(name);
    if (/<(failure|error)\b/.test(inside)) failed.add(name);
    else if (/<skipped\b/.test(inside)) skipped.add(name);
    else passed.add(name);
  }
  return { passed, failed, skipped, twice };
}

/** Problems as lines, empty when both runtimes passed the same tests. In CI a skipped test is a problem too. */
export function compareRuntimes(node: TestNames, deno: TestNames, ci: boolean): string[] {
  const problems: string[] = [];
  const check = (runtime: "node" | "deno", mine: TestNames, other: TestNames): void => {
    for (const name of mine.twice) problems.push(`the name "${name}" stands twice on ${runtime}`);
    for (const name of mine.failed) problems.push(`"${name}" failed on ${runtime}`);
    for (const name of mine.skipped) {
      if (ci) problems.push(`"${name}" was skipped on ${runtime}, with CI=true`);
    }
    for (const name of mine.passed) {
      if (other.passed.has(name) || other.failed.has(name)) continue;
      if (DIFFERENCES[name]?.only === runtime) continue;
      const how = other.skipped.has(name) ? "was skipped" : "did not run";
      problems.push(`"${name}" passed on ${runtime}, but ${how} on ${runtime === "node" ? "deno" : "node"}`);
    }
  };
  check("node", node, deno);
  check("deno", deno, node);
  return problems;
}

// Node's reporter escapes quotes twice.
function unescape(text: string): string {
  const once = text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'").replaceAll("&#39;", "'").replaceAll("&amp;", "&");
  return once === text ? text : unescape(once);
}
