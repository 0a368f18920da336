// Scripts as users write them that no checker of this project would let pass: they import this package by name, or
// are broken. Written to a folder of their own, as far from this project as a user's are.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

const SYNTAX_ERROR = "export default {\n  onRecord(record) {\n    return record..data;\n  },\n};\n";

const SCRIPTS = {
  "helper.ts": "export const shout = (text: string): string => text.toUpperCase();\n",
  "default-object.ts": `
    import type { Hooks } from "kinesis-pulsar";
    import { shout } from "./helper.ts";

    export default {
      onRecord(record, { options }) {
        return { ...record.message, data: shout(record.text()) + options.mark };
      },
    } satisfies Hooks;`,
  "named.mts": `
    import type { KinesisRecord } from "kinesis-pulsar";
    export const limit: number = 5;
    export function onRecord(record: KinesisRecord): null | undefined {
      return record.data.length > limit ? null : undefined;
    }`,
  "value-import.ts": `
    import { greeting } from "kinesis-pulsar";
    export default { onRecord: () => ({ data: greeting }) };`,
  "enum.ts": `
    enum Kind { order = "an order" }
    export default { onRecord: () => ({ data: Kind.order }) };`,
  "syntax.mjs": SYNTAX_ERROR,
  "syntax.ts": SYNTAX_ERROR,
  "syntax-inside.mjs": 'import "./syntax.mjs";\nexport default { onRecord() {} };\n',
  "missing-import.mjs": '\nimport { x } from "./nowhere.mjs";\nexport default { onRecord: x };\n',
  "missing-package.mjs": 'import x from "no-such-package-here";\nexport default { onRecord: x };\n',
  "missing-export.mjs":
    '\nimport { nothing } from "./syntax-inside-not.mjs";\nexport default { onRecord: nothing };\n',
  "syntax-inside-not.mjs": "export const something = 1;\n",
  "hooks.py": "",
  "good one.mjs": "export const onRecord = () => null;\n",
  "bad one.mjs": "\nexport const onRecord = () = null;\n",
};

/** A new folder with all scripts; gives the path of one. */
export function scriptFolder(t: TestContext): (name: keyof typeof SCRIPTS | "." | "not-there.ts") => string {
  const folder = mkdtempSync(join(tmpdir(), "user hooks "));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, source] of Object.entries(SCRIPTS)) writeFileSync(join(folder, name), source);
  return (name) => join(folder, name);
}
