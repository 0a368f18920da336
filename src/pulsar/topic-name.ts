// Topic names: short forms are completed as in Pulsar's own clients, partitions have a suffix.

import { ConnectorError } from "../core/errors.ts";

const DOMAIN = /^(persistent|non-persistent):\/\/(.*)$/s;
const NAMED_ENTITY = /^[A-Za-z0-9_=:.-]+$/;

/**
 * The full name: `t` → persistent://public/default/t, `tenant/ns/t` → persistent://tenant/ns/t, full names as they
 * are. Throws PULSAR_REFUSED for what can be no topic.
 */
export function fullTopicName(name: string): string {
  const match = DOMAIN.exec(name);
  if (match === null && name.includes("://")) {
    throw invalid(name, "its scheme is neither persistent nor non-persistent");
  }
  const domain = match?.[1] ?? "persistent";
  let rest = match?.[2] ?? name;
  if (match === null && !rest.includes("/")) rest = `public/default/${rest}`;
  const parts = rest.split("/");
  const isShort = match === null && parts.length !== 3;
  if (isShort || parts.length < 3) {
    throw invalid(name, "use topic, tenant/namespace/topic or persistent://tenant/namespace/topic");
  }
  if (parts[parts.length - 1] === "" || !NAMED_ENTITY.test(parts[0]!) || !NAMED_ENTITY.test(parts[1]!)) {
    throw invalid(name, "tenant, namespace and topic must not be empty, the first two only [A-Za-z0-9_=:.-]");
  }
  return `${domain}://${rest}`;
}

/** The concrete topic behind partition `index`. */
export function partitionName(topic: string, index: number): string {
  return `${topic}-partition-${index}`;
}

/** `tenant/namespace` of a full topic name, for commands that an error tells to run. */
export function namespaceOf(topic: string): string {
  return /^[^:]+:\/\/([^/]+\/[^/]+)\//.exec(topic)?.[1] ?? "TENANT/NAMESPACE";
}

function invalid(name: string, why: string): ConnectorError {
  const shown = name.length > 200 ? `${name.slice(0, 200)}…` : name;
  return new ConnectorError(`"${shown}" is no Pulsar topic name: ${why}`, {
    code: "PULSAR_REFUSED",
    where: { topic: shown },
  });
}
