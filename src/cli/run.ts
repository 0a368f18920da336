// Placeholder: `kinesis-pulsar run`.

import { ConnectorError } from "../core/errors.ts";

/** Runs the connector; resolves to the exit code. */
export function run(_options: { file: string; until?: string }): Promise<number> {
  return Promise.reject(new ConnectorError("`run` is not in this version yet", { code: "NOT_YET" }));
}
