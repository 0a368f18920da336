// Names of partitions (as Pulsar's clients make them), where more than one room has to know them.

/** The topic that a partition (`…-partition-3`) belongs to; other topics as they are. */
export function withoutPartition(topic: string): string {
  return topic.replace(/-partition-\d+$/, "");
}
