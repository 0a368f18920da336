// A Pulsar IO source file ("configs:" with tenant, name, topicName… around it) as our own flat shape. What Pulsar's
// function worker would do with the outer keys is either taken over here, or named in one warning.

import { configTree } from "./describe.ts";
import type { Findings } from "./findings.ts";
import { nearest } from "../core/suggest.ts";
import { takeProducer } from "./producer-config.ts";
import { isTable } from "./variables.ts";

// Outer keys that are part of the file's identity, or taken over: they need no warning.
const QUIET = new Set([
  "tenant",
  "namespace",
  "name",
  "topicName",
  "parallelism",
  "producerConfig",
  "batchBuilder",
  "configs",
]);

// The other keys of Pulsar's SourceConfig.
const MEANINGLESS = new Set(
  ("archive className resources serdeClassName schemaType secrets processingGuarantees runtimeFlags " +
    "customRuntimeOptions batchSourceConfig logTopic sourceType").split(" "),
);

const TABLES = new Set(
  Object.entries(configTree.entries).filter(([, node]) => node.type !== "field").map(([key]) => key),
);

/** Takes the `configs:` wrapper off, where there is one, and notes where each key came from. */
export function unwrapSourceFile(file: Record<string, unknown>, findings: Findings): Record<string, unknown> {
  if (!("configs" in file)) return file;
  const { configs } = file;
  if (!isTable(configs)) {
    findings.problem(["configs"], ": must be a table of keys");
    return {};
  }
  const result: Record<string, unknown> = { ...configs };
  for (const key of Object.keys(configs)) findings.moved([key], ["configs", key]);
  const ignored: string[] = [];
  for (const [key, value] of Object.entries(file)) {
    if (QUIET.has(key) || key.startsWith("$")) continue;
    if (MEANINGLESS.has(key)) ignored.push(key);
    else if (TABLES.has(key)) addTable(result, key, value, findings);
    else if (key in configTree.entries) findings.unknownKeyInFile([key], "it belongs into configs");
    else unknownOuterKey(key, findings);
  }
  if (ignored.length > 0) {
    findings.warn(
      `${ignored.join(", ")}: these keys of a Pulsar IO file mean nothing here and are ignored` +
        (ignored.includes("secrets") ? " (write secrets as ${VARIABLES} of the environment)" : ""),
    );
  }
  takeTopicName(file["topicName"], result, findings);
  takeProducer(file, result, findings);
  warnOfParallelism(file["parallelism"], findings);
  return result;
}

function addTable(result: Record<string, unknown>, key: string, value: unknown, findings: Findings): void {
  if (key in result) {
    findings.problemInFile(
      [key],
      `: the same table stands beside configs and inside it; keep one of the two`,
    );
    return;
  }
  result[key] = value;
  findings.moved([key], [key]);
}

function unknownOuterKey(key: string, findings: Findings): void {
  const near = nearest(key, [...QUIET, ...TABLES, ...MEANINGLESS]);
  findings.unknownKeyInFile([key], near === undefined ? "" : `did you mean "${near}"?`);
}

function takeTopicName(topicName: unknown, result: Record<string, unknown>, findings: Findings): void {
  if (topicName === undefined || topicName === null || topicName === "") return;
  const pulsar = result["pulsar"] ?? {};
  if (!isTable(pulsar) || isGiven(pulsar["topic"])) return;
  result["pulsar"] = { ...pulsar, topic: topicName };
  findings.moved(["pulsar", "topic"], ["topicName"]);
}

function warnOfParallelism(parallelism: unknown, findings: Findings): void {
  if (!(Number(parallelism) > 1)) return;
  findings.warn(
    `parallelism = ${parallelism}: one process reads all shards here; to share them, start this program ` +
      `${parallelism} times with the same configuration`,
  );
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== "";
}
