// Topic names as brokers understand them: short ones belong to public/default, partitions are topics of their own.

/** `persistent://tenant/namespace/name` of a short (`name`, `tenant/namespace/name`) or full name. */
export function fullTopicName(topic: string): string {
  if (topic.includes("://")) return topic;
  return `persistent://${topic.includes("/") ? topic : `public/default/${topic}`}`;
}

/** The partition's number at the end of a name, −1 for none. */
export function partitionOf(topic: string): number {
  return Number(/-partition-(\d+)$/.exec(topic)?.[1] ?? -1);
}

/** The name without a partition's ending. */
export function partitionedName(topic: string): string {
  return topic.replace(/-partition-\d+$/, "");
}

/** Names of the topics that hold the messages: the partitions, or the topic itself when it has none. */
export function concreteTopics(topic: string, partitions: number): string[] {
  return partitions === 0
    ? [topic]
    : Array.from({ length: partitions }, (_, partition) => `${topic}-partition-${partition}`);
}
