// Checked settings as a Config: the rules over several keys, and everything that is derived from them.

import { resolveNames, warnOfEndpoints } from "./aws-names.ts";
import { resolveAws } from "./aws-rules.ts";
import type { CheckedSettings } from "./check.ts";
import { resolveCredentials } from "./credentials.ts";
import { resolveFile } from "./files.ts";
import type { Findings } from "./findings.ts";
import { pathText } from "./paths.ts";
import { resolveDeadLetterTopic, resolvePulsar } from "./pulsar-rules.ts";
import { RECORD_PROPERTIES } from "../core/record.ts";
import type { Settings } from "./schema.ts";
import { nearest } from "../core/suggest.ts";
import type { Config, HookConfig } from "./types.ts";
import type { Environment } from "./variables.ts";

/** Applies the rules over several keys. Usable only when `findings` has no problems afterwards. */
export function resolveConfig(checked: CheckedSettings, env: Environment, findings: Findings): Config {
  const { settings } = checked;
  checkStart(checked, findings);
  const targets = resolveAws(checked, env, findings);
  const { streamArn } = targets;
  const names = resolveNames(settings, findings);
  warnOfEndpoints(settings, targets, names, findings);
  const kinesisRecordProperties = knownProperties(settings, findings);
  warnOfUnusedConsumer(settings, findings);
  const { awsCredentialPluginName, awsCredentialPluginParam, applicationName } = settings;
  const awsCredentials = findings.isReported(["awsCredentialPluginParam"])
    ? { type: "default" } as const
    : resolveCredentials(awsCredentialPluginName, awsCredentialPluginParam, applicationName, findings);
  const pulsar = resolvePulsar(checked, findings);
  const deadLetterTopic = resolveDeadLetterTopic(settings, pulsar, findings);
  const hooks = resolveHooks(settings, findings);
  const given = checked.given.map((path) => [pathText(path), findings.placeOf(path)]);
  const { awsKinesisStreamName: _, ...rest } = settings;
  return {
    ...rest,
    kinesisRecordProperties,
    awsKinesisStreamName: targets.streamName,
    awsRegion: targets.region,
    pulsar,
    kinesis: { ...settings.kinesis, ...targets.kinesis, ...streamArn === undefined ? {} : { streamArn } },
    leases: { ...settings.leases, ...targets.leases },
    metrics: { ...settings.metrics, ...targets.metrics, cloudwatch: targets.cloudwatch },
    hooks,
    ...deadLetterTopic === undefined ? {} : { deadLetter: { topic: deadLetterTopic } },
    awsCredentials,
    applicationNameGiven: checked.given.some((path) => pathText(path) === "applicationName"),
    ...names,
    warnings: findings.warnings,
    leaseWarnings: findings.leaseWarnings,
    source: findings.source,
    given: Object.fromEntries(given) as Record<string, string>,
  };
}

function checkStart(checked: CheckedSettings, findings: Findings): void {
  const { initialPositionInStream, startAtTime } = checked.settings;
  if (
    initialPositionInStream === "AT_TIMESTAMP" && startAtTime === undefined &&
    !findings.isReported(["startAtTime"])
  ) {
    // The Java connector's words (KinesisSourceConfig).
    findings.problem(
      ["initialPositionInStream"],
      ": When initialPositionInStream is AT_TIMESTAMP, startAtTime must be specified",
    );
  }
}

function warnOfUnusedConsumer({ useEnhancedFanOut, kinesis }: Settings, findings: Findings): void {
  if (useEnhancedFanOut) return;
  for (const key of ["consumerArn", "consumerName"] as const) {
    if (kinesis[key] === undefined) continue;
    findings.warn(`kinesis.${key} is for enhanced fan-out and not used: useEnhancedFanOut = false`);
  }
}

function knownProperties(settings: Settings, findings: Findings): string[] {
  return settings.kinesisRecordProperties.filter((name) => {
    if ((RECORD_PROPERTIES as readonly string[]).includes(name)) return true;
    const near = nearest(name, RECORD_PROPERTIES);
    findings.warn(
      `kinesisRecordProperties: "${name}" is not known and is left out` +
        (near === undefined ? `; known are ${RECORD_PROPERTIES.join(", ")}` : `; did you mean "${near}"?`),
    );
    return false;
  });
}

function resolveHooks(settings: Settings, findings: Findings): HookConfig[] {
  const otherwise = settings.deadLetter === undefined ? "stop" : "dead-letter";
  return settings.hooks.map((hook, index) => {
    if (hook.onError === "dead-letter" && settings.deadLetter === undefined) {
      findings.problem(["hooks", index, "onError"], ' = "dead-letter" needs a deadLetter.topic');
    }
    const path = hook.path.startsWith("builtin:") ? hook.path : resolveFile(hook.path, findings.source);
    return { ...hook, path, options: hook.options ?? {}, onError: hook.onError ?? otherwise };
  });
}
