// The rules over Pulsar keys: topics, authentication, and what the delivery guarantees need.

import { withoutPartition } from "../core/topic-name.ts";
import { checkSecurity } from "./auth-rules.ts";
import type { CheckedSettings } from "./check.ts";
import { checkDriver } from "./driver-rules.ts";
import { resolveFile } from "./files.ts";
import type { Findings } from "./findings.ts";
import { fullTopicName } from "./names.ts";
import type { KeyPath } from "./paths.ts";
import type { Settings } from "./schema.ts";
import type { Config } from "./types.ts";

/** The [pulsar] table with full topic and absolute files. */
export function resolvePulsar(checked: CheckedSettings, findings: Findings): Config["pulsar"] {
  const { pulsar } = checked.settings;
  if (pulsar.serviceUrl === undefined && !findings.isReported(["pulsar", "serviceUrl"])) {
    findings.problem(
      ["pulsar", "serviceUrl"],
      ' is missing: it says where Pulsar is, like "pulsar://localhost:6650"',
    );
  }
  if (pulsar.topic === undefined && !findings.isReported(["pulsar", "topic"])) {
    findings.problem(
      ["pulsar", "topic"],
      ' is missing: it names the topic that messages go to, like "orders"',
    );
  }
  const topic = checkTopic(["pulsar", "topic"], pulsar.topic, findings);
  checkSecurity(pulsar, findings);
  checkUrl(pulsar, findings);
  checkDelivery(checked.settings, topic, findings);
  checkDriver(pulsar, findings);
  const { source } = findings;
  return {
    ...pulsar,
    serviceUrl: pulsar.serviceUrl?.replace(/\/$/, "") ?? "",
    topic: topic ?? "",
    auth: withFiles(pulsar.auth, ["file", "keyFile", "certFile", "script"], source),
    ...pulsar.tls === undefined
      ? {}
      : { tls: withFiles(pulsar.tls, ["caFile", "certFile", "keyFile"], source) },
  };
}

/** The full name of `deadLetter.topic`, if it is one that can keep what `pulsar.topic` does not get. */
export function resolveDeadLetterTopic(
  settings: Settings,
  { topic: mainTopic, delivery }: Config["pulsar"],
  findings: Findings,
): string | undefined {
  const path = ["deadLetter", "topic"];
  const topic = checkTopic(path, settings.deadLetter?.topic, findings);
  if (topic !== undefined && withoutPartition(topic) === withoutPartition(mainTopic)) {
    findings.problem(path, " is pulsar.topic itself: records that cannot be published need another topic");
  }
  if (topic?.startsWith("non-persistent:")) {
    if (delivery === "effectively-once") {
      findings.problem(path, ' must be persistent with pulsar.delivery = "effectively-once"');
    } else {
      findings.warn("deadLetter.topic is not persistent: dead letters that nobody reads at once are lost");
    }
  }
  return topic;
}

/** The full name of a topic, if it is one. */
function checkTopic(path: KeyPath, name: string | undefined, findings: Findings): string | undefined {
  if (name === undefined) return undefined;
  const topic = fullTopicName(name);
  if (topic === undefined) {
    const allowed =
      'a topic like "orders", "tenant/namespace/orders" or "persistent://tenant/namespace/orders"';
    findings.wrongValue(path, name, allowed);
  }
  return topic;
}

function checkUrl(pulsar: Settings["pulsar"], findings: Findings): void {
  const { serviceUrl } = pulsar;
  if (serviceUrl === undefined) return;
  for (const host of serviceUrl.replace(/^[^/]*\/\//, "").replace(/\/$/, "").split(",")) {
    const port = /:(\d+)$/.exec(host)?.[1];
    if (
      !/^([^:[\]]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?$/.test(host) || Number(port ?? 1) > 65_535 || port === "0"
    ) {
      findings.problem(
        ["pulsar", "serviceUrl"],
        `: "${host}" must be a host, with a port of 1 to 65535 if any`,
      );
    }
  }
}

function checkDelivery(settings: Settings, topic: string | undefined, findings: Findings): void {
  if (settings.pulsar.delivery !== "effectively-once") return;
  const path = ["pulsar", "delivery"];
  if (settings.leases.store === "memory") {
    findings.problem(
      path,
      ' = "effectively-once" cannot work with leases.store = "memory": what was sent before a crash would be forgotten',
    );
  }
  if (settings.pulsar.batchBuilder === "key-based") {
    findings.problem(
      ["pulsar", "batchBuilder"],
      ' = "key-based" cannot work with pulsar.delivery = "effectively-once", which needs one order of sequence ids; ' +
        'use "default"',
    );
  }
  if (topic?.startsWith("non-persistent:")) {
    findings.problem(path, ' = "effectively-once" needs a persistent topic: brokers deduplicate no other');
  }
}

function withFiles<T extends object>(table: T, keys: readonly string[], source: string | undefined): T {
  return Object.fromEntries(
    Object.entries(table).map(([key, value]) => [
      key,
      keys.includes(key) && typeof value === "string" ? resolveFile(value, source) : value,
    ]),
  ) as T;
}
