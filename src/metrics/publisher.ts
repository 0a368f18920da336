// The port by which a connector sends its metrics elsewhere. Implementation: cloudwatch.ts.

import type { Telemetry } from "../core/telemetry.ts";

/** Sends what is reported; never makes anybody wait, never fails. */
export interface MetricsPublisher extends Telemetry {
  /** Sends what is left, within a few seconds, and ends. Never rejects. */
  close(): Promise<void>;
}
