// The public names of `kinesis-pulsar/local`: servers for trials and tests, without AWS and Pulsar.

export type { Clock } from "../core/clock.ts";
export type { FaultCount, InjectedFault } from "./counted-faults.ts";

// Kinesis
export { startLocalKinesis } from "./kinesis/local-kinesis.ts";
export type { LocalKinesis } from "./kinesis/local-kinesis.ts";
export type {
  CallFilter,
  FillOptions,
  LocalKinesisOptions,
  LocalRecord,
  PutPosition,
  StoredRecord,
} from "./kinesis/local-kinesis-options.ts";
export type { CreateStreamOptions } from "./kinesis/account.ts";
export type { LocalCredentials } from "./kinesis/access.ts";
export type { Fault } from "./kinesis/faults.ts";
export { AWS_SHARD_LIMITS } from "./kinesis/limits.ts";
export type { TlsIdentity } from "./kinesis/listener.ts";
export type { OpenSubscription, SubscriptionFilter } from "./kinesis/open-subscriptions.ts";
export type { SubscriptionEnd } from "./kinesis/subscription.ts";
export type { ShardLimits } from "./kinesis/limits.ts";
export type { OperationName } from "./kinesis/operations/table.ts";
export type { LoggedRequest } from "./kinesis/request-log.ts";

// Pulsar
export { LocalBroker, startLocalBroker } from "./broker/local-broker.ts";
export type { LocalBrokerOptions, LocalTopicStats } from "./broker/local-broker.ts";
export type { ReceivedCommand } from "./broker/broker.ts";
export type { BrokerFault, CommandTarget } from "./broker/faults.ts";
export type { EntryPosition, TopicMessage } from "./broker/message.ts";
export { openTopicReader, TopicReader } from "./reader.ts";
export type { TopicReaderOptions } from "./reader.ts";
export type { CommandName } from "../pulsar/wire/commands.ts";
export type { ServerErrorName } from "../pulsar/wire/server-error.ts";
