// What a benchmark child measures of itself.

import process from "node:process";

/** The JSON line of a benchmark child. */
export interface Figures {
  readonly records: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakMegabytes: number;
  readonly firstRecordSeconds?: number;
  /** Peak memory after each million of messages. */
  readonly peaks?: readonly number[];
}

/** CPU time used so far (user and system) and the largest resident memory, in MB of 10⁶ bytes. */
export function resources(): { cpuSeconds: number; peakMegabytes: number } {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  return { cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakMegabytes: maxRSS * 1024 / 1e6 };
}
