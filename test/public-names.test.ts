// The public names, listed by hand: the API changes on purpose or not at all.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const MOD = {
  values: ["ConnectorError", "createConnector", "defineHooks", "loadConfigFile"],
  types: [
    "CheckpointEvent",
    "Config",
    "ConfigInput",
    "Connector",
    "ConnectorEvents",
    "ConnectorHealth",
    "ConnectorResult",
    "ConnectorStatus",
    "CreateConnectorOptions",
    "EncryptionType",
    "ErrorCode",
    "ErrorEvent",
    "ErrorWhere",
    "HealthState",
    "HookContext",
    "HookMetrics",
    "HookResult",
    "Hooks",
    "KinesisRecord",
    "LogFields",
    "Logger",
    "MaybePromise",
    "MessageData",
    "MetricSnapshot",
    "OutgoingMessage",
    "SeriesSnapshot",
    "ShardEndEvent",
    "ShardStartEvent",
    "ShardState",
    "ShardStatus",
    "StopEvent",
    "ThrottleHookEvent",
  ],
};

const LOCAL = {
  values: [
    "AWS_SHARD_LIMITS",
    "LocalBroker",
    "TopicReader",
    "openTopicReader",
    "startLocalBroker",
    "startLocalKinesis",
  ],
  types: [
    "BrokerFault",
    "CallFilter",
    "Clock",
    "CommandName",
    "CommandTarget",
    "CreateStreamOptions",
    "EntryPosition",
    "Fault",
    "FaultCount",
    "FillOptions",
    "InjectedFault",
    "LocalBrokerOptions",
    "LocalCredentials",
    "LocalKinesis",
    "LocalKinesisOptions",
    "LocalRecord",
    "LocalTopicStats",
    "LoggedRequest",
    "OpenSubscription",
    "OperationName",
    "PutPosition",
    "ReceivedCommand",
    "ServerErrorName",
    "ShardLimits",
    "StoredRecord",
    "SubscriptionEnd",
    "SubscriptionFilter",
    "TlsIdentity",
    "TopicMessage",
    "TopicReaderOptions",
  ],
};

/** Names of the `export { … } from` and `export type { … } from` lists of a file, which may export in no other way. */
function exportsOf(file: string): { values: string[]; types: string[] } {
  const source = readFileSync(new URL(`../${file}`, import.meta.url), "utf8");
  const lists = /^export (type )?\{([^}]*)\} from "[^"]+";$/gm;
  assert.doesNotMatch(
    source.replace(lists, ""),
    /^export\b/m,
    `${file} lists what it exports, and nothing else`,
  );
  const found = { values: [] as string[], types: [] as string[] };
  for (const [, type, names] of source.matchAll(lists)) {
    found[type === undefined ? "values" : "types"].push(
      ...names!.split(",").map((name) => name.trim()).filter(Boolean),
    );
  }
  return { values: found.values.sort(), types: found.types.sort() };
}

test("public names: kinesis-pulsar exports exactly what is listed here", async () => {
  assert.deepEqual(exportsOf("mod.ts"), MOD);
  assert.deepEqual(Object.keys(await import("../mod.ts")).sort(), MOD.values);
});

test("public names: kinesis-pulsar/local exports exactly what is listed here", async () => {
  assert.deepEqual(exportsOf("src/local/mod.ts"), LOCAL);
  assert.deepEqual(Object.keys(await import("../src/local/mod.ts")).sort(), LOCAL.values);
});
