// What a Kinesis client may expect of a server, as a list of named checks: each looks at something through the
// SDK and says what it saw; `expected` is what AWS shows. Run on our server and on kinesis-local.

import { CONSUMER_CHECKS } from "./conformance-consumers.ts";
import type { Kit } from "./conformance-kit.ts";
import { READING_CHECKS } from "./conformance-reading.ts";
import { STREAM_CHECKS } from "./conformance-streams.ts";
import { WRITING_CHECKS } from "./conformance-writing.ts";

/** One check. What it sees must be JSON. */
export interface Check {
  readonly name: string;
  readonly expected: unknown;
  see(kit: Kit): Promise<unknown>;
}

/** All checks. Names are unique and stable: the table of differences refers to them. */
export const CHECKS: readonly Check[] = [
  ...STREAM_CHECKS,
  ...WRITING_CHECKS,
  ...READING_CHECKS,
  ...CONSUMER_CHECKS,
];
