// Names of AWS resources that come from `applicationName`, and of Pulsar topics.

/**
 * An application's name as DynamoDB, Kinesis and CloudWatch take it: they refuse blanks, so each character outside
 * `[A-Za-z0-9_.-]` becomes a dash.
 */
export function toAwsName(applicationName: string): string {
  return applicationName.replace(/[^A-Za-z0-9_.-]/gu, "-");
}

const SHORT = /^[^/:\s]+$/;
const FULL = /^(persistent|non-persistent):\/\/([^/\s]+\/[^/\s]+\/[^\s]+)$/;

/**
 * A topic's full name: `orders` → `persistent://public/default/orders`, `a/b/orders` → `persistent://a/b/orders`.
 * `undefined` = not a topic's name.
 */
export function fullTopicName(name: string): string | undefined {
  const topic = name.trim();
  if (FULL.test(topic)) return topic;
  if (SHORT.test(topic)) return `persistent://public/default/${topic}`;
  return /^[^/:\s]+\/[^/:\s]+\/[^/\s]+$/.test(topic) ? `persistent://${topic}` : undefined;
}
