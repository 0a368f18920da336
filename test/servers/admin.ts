// What tests ask of a broker's admin REST interface. Topics may be given short or in full.

import { pulsarBroker } from "./broker.ts";

/** Part of a topic's statistics. */
export interface TopicStats {
  readonly msgInCounter: number;
  readonly bytesInCounter: number;
  readonly publishers: readonly {
    readonly producerName: string;
    readonly producerId: number;
    readonly clientVersion?: string;
    readonly connectedSince?: string;
  }[];
  readonly subscriptions: Readonly<Record<string, unknown>>;
}

/** The admin interface of a broker; the shared one unless its URL is given. Each call throws on any error answer. */
export function pulsarAdmin(adminUrl?: string): PulsarAdmin {
  const call = async (method: string, path: string, body?: unknown): Promise<string> => {
    const base = adminUrl ?? (await pulsarBroker()).adminUrl;
    const response = await fetch(`${base}/admin/v2/${path}`, {
      method,
      headers: { "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`pulsar admin: ${method} ${path}: ${response.status} ${text}`);
    return text;
  };
  return {
    async createTopic(topic) {
      await call("PUT", topicPath(topic));
    },
    async createPartitionedTopic(topic, partitions) {
      await call("PUT", `${topicPath(topic)}/partitions`, partitions);
    },
    async updatePartitions(topic, partitions) {
      await call("POST", `${topicPath(topic)}/partitions`, partitions);
    },
    async deleteTopic(topic) {
      const { partitions } = JSON.parse(await call("GET", `${topicPath(topic)}/partitions`));
      await call("DELETE", `${topicPath(topic)}${partitions > 0 ? "/partitions" : ""}?force=true`);
    },
    async terminate(topic) {
      await call("POST", `${topicPath(topic)}/terminate`);
    },
    async unload(topic) {
      await call("PUT", `${topicPath(topic)}/unload`);
    },
    async stats(topic) {
      return JSON.parse(await call("GET", `${topicPath(topic)}/stats`));
    },
    async topics(namespace = "public/default") {
      return JSON.parse(await call("GET", `persistent/${namespace}`));
    },
    async setDeduplication(enabled, namespace = "public/default") {
      await call("POST", `namespaces/${namespace}/deduplication`, enabled);
    },
    call,
  };
}

/** See {@link pulsarAdmin}. */
export interface PulsarAdmin {
  createTopic(topic: string): Promise<void>;
  createPartitionedTopic(topic: string, partitions: number): Promise<void>;
  updatePartitions(topic: string, partitions: number): Promise<void>;
  /** Also with producers connected, also partitioned. */
  deleteTopic(topic: string): Promise<void>;
  terminate(topic: string): Promise<void>;
  /** Closes the topic's producers and loads it again. */
  unload(topic: string): Promise<void>;
  stats(topic: string): Promise<TopicStats>;
  topics(namespace?: string): Promise<string[]>;
  setDeduplication(enabled: boolean, namespace?: string): Promise<void>;
  /** Any other request below /admin/v2/; gives the answer's text. */
  call(method: string, path: string, body?: unknown): Promise<string>;
}

/** `persistent/public/default/name` of a short or full topic name. */
export function topicPath(topic: string): string {
  const [domain, rest] = topic.includes("://")
    ? topic.split("://") as [string, string]
    : ["persistent", topic];
  const [tenant, namespace, ...name] = rest.includes("/") ? rest.split("/") : ["public", "default", rest];
  return `${domain}/${tenant}/${namespace}/${encodeURIComponent(name.join("/"))}`;
}
