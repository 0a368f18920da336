// `kinesis-pulsar schema`: the configuration's JSON Schema on stdout.

import process from "node:process";
import { jsonSchema } from "../config/mod.ts";

/** Prints the JSON Schema. */
export function schema(): number {
  process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
  return 0;
}
