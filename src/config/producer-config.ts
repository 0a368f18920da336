// What a Pulsar IO file says about its producer (`producerConfig`, `batchBuilder`), as keys of our [pulsar] table, which
// win where both are given. What Java's framework does without being told (LZ4) holds for such files, too.

import type { Findings } from "./findings.ts";
import type { KeyPath } from "./paths.ts";
import { isTable } from "./variables.ts";

/** Keys of Pulsar's ProducerConfig and BatchingConfig that mean something here. */
const KNOWN = new Set([
  "cryptoConfig",
  "compressionType",
  "maxPendingMessages",
  "batchBuilder",
  "batchingConfig",
]);
const KNOWN_BATCHING = new Set(
  ["enabled", "batchingMaxPublishDelayMs", "batchingMaxMessages", "batchingMaxBytes", "batchBuilder"],
);

/** Takes what the file says into `result.pulsar`. */
export function takeProducer(
  file: Record<string, unknown>,
  result: Record<string, unknown>,
  findings: Findings,
): void {
  const config = tableAt(file, ["producerConfig"], findings);
  const batching = tableAt(config, ["producerConfig", "batchingConfig"], findings);
  const pulsar = result["pulsar"] ?? {};
  if (!isTable(pulsar)) return; // said elsewhere
  if (isTable(config["cryptoConfig"])) {
    findings.problem(
      ["producerConfig", "cryptoConfig"],
      ": end-to-end encryption is not supported, and messages would go out unencrypted; remove it to accept that",
    );
  }
  const taken: Record<string, unknown> = { ...pulsar };
  const take = (key: string, value: unknown, filePath: KeyPath): void => {
    if (isGiven(taken[key]) || !isGiven(value)) return;
    taken[key] = value;
    findings.moved(["pulsar", key], filePath);
  };
  const at = (...keys: string[]): KeyPath => ["producerConfig", ...keys];
  // The framework's producers compress with LZ4 where no type is given.
  take("compression", lowerCase(config["compressionType"]) ?? "lz4", at("compressionType"));
  take("maxPendingMessages", notZero(config["maxPendingMessages"]), at("maxPendingMessages"));
  if (batching["enabled"] === false || batching["enabled"] === "false") {
    take("batchMaxMessages", 1, at("batchingConfig", "enabled"));
  }
  const inBatching: [ours: string, theirs: string][] = [
    ["batchMaxMessages", "batchingMaxMessages"],
    ["batchMaxBytes", "batchingMaxBytes"],
    ["batchMaxDelayMs", "batchingMaxPublishDelayMs"],
  ];
  for (const [ours, theirs] of inBatching) {
    take(ours, notZero(batching[theirs]), at("batchingConfig", theirs));
  }
  // In this order: the framework takes the outer one after that of producerConfig.
  take("batchBuilder", builder(batching["batchBuilder"]), at("batchingConfig", "batchBuilder"));
  take("batchBuilder", builder(file["batchBuilder"]), ["batchBuilder"]);
  take("batchBuilder", builder(config["batchBuilder"]), at("batchBuilder"));
  result["pulsar"] = taken;
  warnOfOthers(config, batching, findings);
}

function warnOfOthers(
  config: Record<string, unknown>,
  batching: Record<string, unknown>,
  findings: Findings,
): void {
  const ignored = [
    ...Object.keys(config).filter((key) => !KNOWN.has(key)),
    ...Object.keys(batching).filter((key) => !KNOWN_BATCHING.has(key)).map((key) => `batchingConfig.${key}`),
  ];
  if (ignored.length > 0) {
    findings.warn(`producerConfig: ${ignored.join(", ")}: ignored; the [pulsar] table has its own settings`);
  }
}

/** The table at the end of the path; an empty one where there is none. */
function tableAt(
  parent: Record<string, unknown>,
  path: KeyPath,
  findings: Findings,
): Record<string, unknown> {
  const value = parent[path.at(-1)!];
  if (isTable(value)) return value;
  if (value !== undefined && value !== null) findings.problem(path, ": must be a table of keys");
  return {};
}

/** Java's names are in capitals; what is none is left to the schema, which says what is allowed. */
function lowerCase(value: unknown): unknown {
  if (!isGiven(value)) return undefined;
  return typeof value === "string" ? value.toLowerCase() : value;
}

/** 0 is Pulsar's way to say "the default". */
function notZero(value: unknown): unknown {
  return isGiven(value) && Number(value) === 0 ? undefined : value;
}

/** The framework takes everything but KEY_BASED as DEFAULT. */
function builder(value: unknown): string | undefined {
  if (!isGiven(value)) return undefined;
  return value === "KEY_BASED" ? "key-based" : "default";
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== "";
}
