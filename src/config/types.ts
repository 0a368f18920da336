// What a checked configuration is, once everything that can be derived from it is.

import type { Settings } from "./schema.ts";

/** Read-only all the way down. */
export type DeepReadonly<T> = T extends (infer Item)[] ? readonly DeepReadonly<Item>[]
  : T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
  : T;

/** Where AWS credentials come from. */
export type AwsCredentials =
  /** The SDK's default chain. */
  | { readonly type: "default" }
  | {
    readonly type: "static";
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string | undefined;
  }
  /** On top of the default chain. */
  | {
    readonly type: "assume-role";
    readonly roleArn: string;
    readonly roleSessionName: string;
    readonly externalId?: string | undefined;
  }
  /** A script whose default export gives a credential provider; `param` is `awsCredentialPluginParam`. */
  | { readonly type: "script"; readonly path: string; readonly param?: string | undefined };

/** One script of the hook chain. */
export interface HookConfig {
  /** Absolute path, or `builtin:name`. */
  readonly path: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly onError: "stop" | "skip" | "dead-letter";
  readonly retries: number;
  readonly timeoutMs: number;
  readonly concurrency: number;
}

/** What is resolved for each AWS service. */
export interface ServiceAccess {
  readonly region: string;
  readonly endpoint?: string | undefined;
}

type Section<Key extends keyof Settings> = DeepReadonly<NonNullable<Settings[Key]>>;
type Flat = DeepReadonly<
  Omit<Settings, "pulsar" | "kinesis" | "leases" | "metrics" | "hooks" | "awsKinesisStreamName" | "awsRegion">
>;

/**
 * A checked configuration: all defaults filled in, times as epoch milliseconds, files as absolute paths, topics as full
 * names. Regions and endpoints of the services are those that count (`kinesis.endpoint`, not `awsEndpoint`).
 */
export interface Config extends Flat {
  /** Also where the stream was given as ARN. */
  readonly awsKinesisStreamName: string;
  /** Of the stream: from `awsRegion`, the ARN or the environment. */
  readonly awsRegion: string;
  readonly pulsar: Section<"pulsar"> & { readonly serviceUrl: string; readonly topic: string };
  readonly kinesis: Section<"kinesis"> & ServiceAccess;
  readonly leases: Section<"leases"> & ServiceAccess;
  readonly metrics: Section<"metrics"> & ServiceAccess;
  readonly hooks: readonly HookConfig[];
  readonly awsCredentials: AwsCredentials;
  /** Whether `applicationName` was written down (design §4: Java's later default name). */
  readonly applicationNameGiven: boolean;
  /** Name of the DynamoDB lease table. */
  readonly leaseTable: string;
  /** Name of the fan-out consumer. */
  readonly consumerName: string;
  /** CloudWatch namespace. */
  readonly metricsNamespace: string;
  /** Said once in the log when the connector starts. */
  readonly warnings: readonly string[];
  /** Those of them that the `leases` command says: it reads no records, publishes nothing and sends no metrics. */
  readonly leaseWarnings: readonly string[];
  /** The file this came from, as it was named. */
  readonly source?: string | undefined;
  /** Keys that were given, with `file:line:column` ("" where there is no file). */
  readonly given: Readonly<Record<string, string>>;
}
