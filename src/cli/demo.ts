// Placeholder: `kinesis-pulsar demo`.

import { ConnectorError } from "../core/errors.ts";

/** Shows the connector working; resolves to the exit code. */
export function demo(_options: { pulsar?: string; seconds?: number }): Promise<number> {
  return Promise.reject(new ConnectorError("`demo` is not in this version yet", { code: "NOT_YET" }));
}
