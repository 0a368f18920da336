// The part of the official client's API (npm package `pulsar-client`) that the native driver uses, in our own words.
// `npm run check:native` compares it with the package's index.d.ts, so that neither promises what the other has not.

import type { Buffer } from "node:buffer";

/** What the package exports. */
export interface PulsarClientModule {
  readonly Client: new (config: ClientConfig) => PulsarClient;
  readonly AuthenticationToken: new (params: TokenParams) => Authentication;
  readonly AuthenticationBasic: new (params: BasicParams) => Authentication;
  readonly AuthenticationTls: new (params: TlsParams) => Authentication;
}

/** One of the package's authentication classes; what is inside is its own affair. */
export type Authentication = object;

/** The supplier runs on the event loop while a thread of the client waits: it must neither throw nor reject. */
export interface TokenParams {
  token: () => Promise<string>;
}

/** Of authentication method "basic". */
export interface BasicParams {
  username: string;
  password: string;
}

/** PEM files. */
export interface TlsParams {
  certificatePath: string;
  privateKeyPath: string;
}

/** Options of a client. */
export interface ClientConfig {
  serviceUrl: string;
  authentication?: Authentication;
  connectionTimeoutMs?: number;
  operationTimeoutSeconds?: number;
  tlsTrustCertsFilePath?: string;
  tlsCertificateFilePath?: string;
  tlsPrivateKeyFilePath?: string;
  /** The package's default is false. */
  tlsValidateHostname?: boolean;
  listenerName?: string;
  /** 0 debug … 3 error. One handler per process: the last client's counts. */
  log?: (level: number, file: string, line: number, message: string) => void;
  logLevel?: number;
}

/** A connection to a cluster. */
export interface PulsarClient {
  createProducer(config: ProducerConfig): Promise<NativeProducer>;
  close(): Promise<null>;
}

/** Options of a producer. Numbers that are not above 0 are not honoured but give the default. */
export interface ProducerConfig {
  topic: string;
  /** The default is 30 s; it cannot be switched off. */
  sendTimeoutMs?: number;
  maxPendingMessages?: number;
  maxPendingMessagesAcrossPartitions?: number;
  /** true would block the JavaScript thread. */
  blockIfQueueFull?: boolean;
  messageRoutingMode?: "RoundRobinDistribution";
  /** The default is BoostHash, which no other client has. */
  hashingScheme?: "Murmur3_32Hash";
  compressionType?: "None" | "Zlib" | "LZ4" | "ZSTD" | "SNAPPY";
  batchingEnabled?: boolean;
  batchingMaxPublishDelayMs?: number;
  /** 1 ends the process: a C++ exception that nobody catches. */
  batchingMaxMessages?: number;
  /** Counts payloads only, neither keys nor properties. */
  batchingMaxAllowedSizeInBytes?: number;
  batchingType?: "DefaultBatching" | "KeyBasedBatching";
  /** Only of messages that are in no batch. */
  chunkingEnabled?: boolean;
}

/** A producer of a topic with all its partitions. */
export interface NativeProducer {
  /** Copies the message before it returns. Rejects with an Error that has the result's name in its message only. */
  send(message: ProducerMessage): Promise<unknown>;
  /** Seals open batches before it returns; the promise waits for the receipts. */
  flush(): Promise<null>;
  close(): Promise<null>;
}

/** A message. Texts end at their first NUL character. */
export interface ProducerMessage {
  data: Buffer;
  properties?: { [key: string]: string };
  eventTimestamp?: number;
  partitionKey?: string;
  orderingKey?: string;
  deliverAt?: number;
}
