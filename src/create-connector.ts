// From a configuration to a running connector: the one place that knows all rooms. The command line program and
// people who embed the connector use the same function.

import { dirname, resolve } from "node:path";
import pkg from "../package.json" with { type: "json" };
import { type AwsAccess, awsAccess, openLeaseStore } from "./aws-access.ts";
import {
  type Config,
  type ConfigInput,
  fullTopicName,
  loadConfigFile,
  parseConfig,
  refuseNotYet,
} from "./config/mod.ts";
import type { Clock } from "./core/clock.ts";
import { ConnectorError } from "./core/errors.ts";
import { type Logger, silentLogger } from "./core/log.ts";
import { withoutPartition } from "./core/topic-name.ts";
import { createHookChain } from "./hooks/chain.ts";
import { defineHooks } from "./hooks/define.ts";
import { hooksDigest } from "./hooks/digest.ts";
import { inlineHooks, loadHooks } from "./hooks/load.ts";
import { importScript } from "./hooks/import.ts";
import type { Hooks } from "./hooks/types.ts";
import type { FanOutSettings } from "./kinesis/stream.ts";
import { processMetrics } from "./metrics/process-metrics.ts";
import { MetricsRegistry } from "./metrics/registry.ts";
import { Connector } from "./pipeline/connector.ts";
import type { ConnectorOptions, ConnectorParts, InitialPosition } from "./pipeline/parts.ts";
import type { OnceSettings } from "./pipeline/shard-generation.ts";
import type { PulsarClientModule } from "./pulsar/native/api.ts";
import { environment, processUsage, runtimeName, systemClock } from "./runtime.ts";

/** What an embedding program may add to a configuration. */
export interface CreateConnectorOptions {
  /** Hooks as objects; they run after the configuration's scripts, in this order. */
  // deno-lint-ignore no-explicit-any
  readonly hooks?: Hooks<any> | readonly Hooks<any>[];
  /** Where log lines go. @default nowhere */
  readonly log?: Logger;
  /** Ends by itself when everything that arrived before this time (epoch milliseconds) is copied. */
  readonly until?: number;
  /** What `${VAR}` and `AWS_REGION` are looked up in. @default the process's environment */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** For tests. @default the real one */
  readonly clock?: Clock;
}

/**
 * Makes a connector; nothing is asked of any service before `start()`.
 * @param config what a configuration file may hold, or what `loadConfigFile` gave
 * @throws ConnectorError CONFIG_INVALID or NOT_YET, with all problems
 */
export function createConnector(
  config: ConfigInput | Record<string, unknown> | Config,
  options: CreateConnectorOptions = {},
): Connector {
  const env = options.env ?? environment();
  const checked = isChecked(config) ? config : parseConfig(config, { env });
  refuseNotYet(checked);
  const log = options.log ?? silentLogger;
  for (const warning of checked.warnings) log.warn(warning);
  const clock = options.clock ?? systemClock;
  return new Connector(parts(checked, clock, log, options), connectorOptions(checked, options));
}

function isChecked(config: object): config is Config {
  return "given" in config && "warnings" in config && "leaseTable" in config;
}

function connectorOptions(config: Config, { until }: CreateConnectorOptions): ConnectorOptions {
  return {
    streamName: config.awsKinesisStreamName,
    topic: config.pulsar.topic,
    deadLetterTopic: config.deadLetter?.topic,
    initialPosition: initialPosition(config),
    tableWasChosen: config.applicationNameGiven || config.leases.table !== undefined,
    failoverTimeMs: config.leases.failoverTimeMs,
    checkpointIntervalMs: config.checkpointInterval,
    backoffTimeMs: config.backoffTime,
    numRetries: config.numRetries,
    receiveQueueSize: config.receiveQueueSize,
    maxBufferedBytes: config.kinesis.maxBufferedBytes,
    shutdownTimeoutMs: config.shutdownTimeoutMs,
    // An idle shard is silent for as long as its polls are apart.
    stallTimeoutMs: Math.max(config.kinesis.stallTimeoutMs, 2 * config.kinesis.idlePollMs),
    until,
  };
}

function initialPosition(config: Config): InitialPosition {
  const type = config.initialPositionInStream;
  if (type !== "AT_TIMESTAMP") return { type };
  return { type, timestamp: config.startAtTime! }; // parseConfig refuses AT_TIMESTAMP without it
}

function parts(config: Config, clock: Clock, log: Logger, options: CreateConnectorOptions): ConnectorParts {
  const aws = awsAccess(config, clock, log);
  const metrics = new MetricsRegistry();
  return {
    clock,
    log,
    metrics,
    async openHooks(signal) {
      const { streamName, topic } = connectorOptions(config, options);
      const scripts = [];
      for (const [index, hook] of config.hooks.entries()) {
        scripts.push(
          await loadHooks(hook, { key: `hooks[${index}].path`, self: () => Promise.resolve(SELF), clock }),
        );
      }
      for (const [index, hooks] of inlineHooksOf(options).entries()) {
        const onError = config.deadLetter === undefined ? "stop" : "dead-letter";
        scripts.push(inlineHooks(hooks, { name: `hooks[${index}]`, onError }));
      }
      return createHookChain({
        scripts,
        log,
        metrics,
        clock,
        runtime: runtimeName,
        signal,
        streamName,
        topic,
        isReserved: (name) =>
          config.pulsar.delivery === "effectively-once" && isPartOf(name, config.deadLetter?.topic),
        messageKeyMode: config.messageKeyMode,
        kinesisRecordProperties: config.kinesisRecordProperties,
        eventTime: config.pulsar.eventTime,
      });
    },
    ...config.pulsar.delivery === "effectively-once" ? { once: () => once(config, log, options) } : {},
    async openKinesis(onThrottle, telemetry) {
      const { createKinesisStream } = await import("./kinesis/stream.ts");
      return await createKinesisStream({
        clientConfig: await aws("kinesis", { maxAttempts: 1 }),
        streamName: config.awsKinesisStreamName,
        streamArn: config.kinesis.streamArn,
        backoffTimeMs: config.backoffTime,
        maxReadsPerSecond: config.kinesis.maxReadsPerSecond,
        maxReadBytesPerSecond: config.kinesis.maxReadBytesPerSecond,
        idlePollMs: config.kinesis.idlePollMs,
        fanOut: config.useEnhancedFanOut ? await fanOut(config, aws) : undefined,
        onThrottle,
        telemetry,
        clock,
        log,
      });
    },
    openLeaseStore: () => openLeaseStore(config, aws, clock),
    openHttp: config.http && (async (observed) => {
      const { openHttpEndpoint } = await import("./metrics/http.ts");
      return await openHttpEndpoint(observed, { ...config.http!, log });
    }),
    openPublisher: publisherOf(config, aws, clock, log),
    processMetrics: () => processMetrics(processUsage()),
    async openSink(events) {
      const { openSecurity } = await import("./pulsar/security.ts");
      const sinkOptions = {
        ...config.pulsar,
        ...await openSecurity(config.pulsar, { clock, log, env: options.env ?? environment(), importScript }),
        deadLetterTopic: config.deadLetter?.topic,
        events,
        clock,
        log,
      };
      if (config.pulsar.driver === "pulsar-client") {
        const { createNativeSink } = await import("./pulsar/native/sink.ts");
        return await createNativeSink(await officialClient(config, options), sinkOptions);
      }
      const { createBuiltinSink } = await import("./pulsar/builtin.ts");
      const { loadCodec } = await import("./pulsar/codecs/load.ts");
      return createBuiltinSink({
        ...sinkOptions,
        codec: await loadCodec(config.pulsar.compression),
        clientVersion: `kinesis-pulsar/${pkg.version}`,
      });
    },
  };
}

function publisherOf(
  { metrics: { cloudwatch }, metricsNamespace }: Config,
  aws: AwsAccess,
  clock: Clock,
  log: Logger,
): ConnectorParts["openPublisher"] {
  if (cloudwatch === "none") return undefined;
  return async (workerId, onThrottle) => {
    const { openCloudWatch } = await import("./metrics/cloudwatch.ts");
    const clientConfig = await aws("metrics", { maxAttempts: 1, requestTimeoutMs: 5000 });
    const options = { namespace: metricsNamespace, level: cloudwatch, workerId, onThrottle, clock, log };
    return await openCloudWatch({ ...options, clientConfig });
  };
}

/** HTTP/2 is what AWS has; most emulators have HTTP/1.1 only. */
async function fanOut(config: Config, aws: AwsAccess): Promise<FanOutSettings> {
  const { consumerArn, endpoint, http2 } = config.kinesis;
  const streaming = /^http:/i.test(endpoint ?? "") && !http2 ? "http1" : "http2";
  const clientConfig = await aws("kinesis", { maxAttempts: 1, streaming });
  return { consumerName: config.consumerName, consumerArn, clientConfig };
}

/** The npm package `pulsar-client`: of the present folder's project, or of the configuration file's. */
async function officialClient(
  { source }: Config,
  { env = environment() }: CreateConnectorOptions,
): Promise<PulsarClientModule> {
  const { loadPulsarClient } = await import("./pulsar/native/load.ts");
  const folders = source === undefined ? [resolve()] : [resolve(), dirname(resolve(source))];
  return loadPulsarClient({ packageFolder: env["PULSAR_CLIENT_DIR"] || undefined, folders });
}

/** What is wrong with the files and variables of `pulsar.auth` and `pulsar.tls`, as far as it shows without a broker. */
export async function findSecurityFaults(
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
): Promise<ConnectorError[]> {
  const { securityFaults } = await import("./pulsar/security.ts");
  return await securityFaults(config.pulsar, env, systemClock.now());
}

/** Whether a hook's name for a topic, short or full, means this one or a partition of it. */
function isPartOf(name: string, topic: string | undefined): boolean {
  const full = fullTopicName(name);
  return full !== undefined && topic !== undefined && withoutPartition(full) === withoutPartition(topic);
}

function inlineHooksOf({ hooks = [] }: CreateConnectorOptions): readonly Hooks[] {
  return Array.isArray(hooks) ? hooks : [hooks as Hooks];
}

async function once(
  config: Config,
  log: Logger,
  options: CreateConnectorOptions,
): Promise<OnceSettings> {
  const { applicationName, messageKeyMode, hooks, deadLetter, pulsar: { topic, hashingScheme } } = config;
  const digest = await hooksDigest({
    scripts: hooks,
    inline: inlineHooksOf(options),
    routing: { topic, messageKeyMode, hashingScheme, deadLetterTopic: deadLetter?.topic },
    version: pkg.version,
    log,
  });
  return { applicationName, digest };
}

// What a script gets that imports from "kinesis-pulsar" where no such package is installed beside it: the values that
// mod.ts exports.
const SELF = { createConnector, loadConfigFile, ConnectorError, defineHooks };
