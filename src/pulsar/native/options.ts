// Our options as those of the official client, around its traps: a batch limit of 1 ends the process, a full queue
// rejects, 0 means "default", the send time-out is never off, hash and host name check are not ours by default.

import { Buffer } from "node:buffer";
import { type Logger, silentLogger } from "../../core/log.ts";
import type { AuthSupplier } from "../auth/supplier.ts";
import type { Authentication, ClientConfig, ProducerConfig, PulsarClientModule } from "./api.ts";

/** What the client is told of the [pulsar] table. Times in milliseconds, sizes in bytes. */
export interface NativeClientOptions {
  readonly serviceUrl: string;
  readonly listenerName?: string | undefined;
  /** Tokens (also OAuth2's) and passwords come from our own suppliers. @default none */
  readonly auth?: AuthSupplier | undefined;
  readonly tls?: {
    readonly caFile?: string | undefined;
    readonly certFile?: string | undefined;
    readonly keyFile?: string | undefined;
    /** @default true */
    readonly verifyHostname?: boolean | undefined;
  } | undefined;
  readonly log?: Logger | undefined;
}

/** What its producers are told. */
export interface NativeProducerOptions {
  /** @default "none" */
  readonly compression?: "none" | "lz4" | "zlib" | "zstd" | "snappy" | undefined;
  /** @default 1000 */
  readonly batchMaxMessages?: number | undefined;
  /** @default 131072 */
  readonly batchMaxBytes?: number | undefined;
  /** @default 10 */
  readonly batchMaxDelayMs?: number | undefined;
  /** @default "default" */
  readonly batchBuilder?: "default" | "key-based" | undefined;
  /** @default true */
  readonly chunking?: boolean | undefined;
}

/** The largest number of the client's options (int32): queues that our own bound never fills, 24 days as time-out. */
const MAX_INT32 = 2 ** 31 - 1;
/** Bytes in a batch at most, whatever is configured: one beyond the broker's 5 MiB is refused with all its messages. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;
const WARN = 2;

const COMPRESSION = { none: "None", lz4: "LZ4", zlib: "Zlib", zstd: "ZSTD", snappy: "SNAPPY" } as const;

/** Options of the client. */
export async function clientConfig(
  module: PulsarClientModule,
  options: NativeClientOptions,
): Promise<ClientConfig> {
  const { serviceUrl, listenerName, tls, auth, log = silentLogger } = options;
  const authentication = auth && await nativeAuthentication(module, auth, options);
  return {
    serviceUrl,
    ...listenerName === undefined ? {} : { listenerName },
    ...authentication === undefined ? {} : { authentication },
    tlsValidateHostname: tls?.verifyHostname ?? true,
    ...tls?.caFile === undefined ? {} : { tlsTrustCertsFilePath: tls.caFile },
    ...tls?.certFile === undefined ? {} : { tlsCertificateFilePath: tls.certFile },
    ...tls?.keyFile === undefined ? {} : { tlsPrivateKeyFilePath: tls.keyFile },
    // The client tells of lost connections in its log only.
    log: (level, _file, _line, message) => {
      if (level >= WARN) log.warn(`pulsar-client: ${message}`);
    },
    logLevel: WARN,
  };
}

/**
 * Options of a topic's producer.
 * @param isLone of messages that are sent one by one: chunking and batching exclude each other there
 */
export function producerConfig(
  topic: string,
  options: NativeProducerOptions,
  isLone: boolean,
  chunking: boolean,
): ProducerConfig {
  const { batchMaxMessages = 1000, batchMaxBytes = 131_072, batchMaxDelayMs = 10 } = options;
  return {
    topic,
    sendTimeoutMs: MAX_INT32,
    maxPendingMessages: MAX_INT32,
    maxPendingMessagesAcrossPartitions: MAX_INT32,
    blockIfQueueFull: false,
    messageRoutingMode: "RoundRobinDistribution",
    hashingScheme: "Murmur3_32Hash",
    compressionType: COMPRESSION[options.compression ?? "none"],
    ...isLone || batchMaxMessages <= 1 ? { batchingEnabled: false, chunkingEnabled: isLone && chunking } : {
      batchingEnabled: true,
      batchingMaxMessages: batchMaxMessages,
      batchingMaxAllowedSizeInBytes: Math.min(batchMaxBytes, MAX_BATCH_BYTES),
      batchingMaxPublishDelayMs: Math.max(1, batchMaxDelayMs),
      batchingType: options.batchBuilder === "key-based" ? "KeyBasedBatching" : "DefaultBatching",
    },
  };
}

async function nativeAuthentication(
  module: PulsarClientModule,
  auth: AuthSupplier,
  { tls, log }: NativeClientOptions,
): Promise<Authentication | undefined> {
  const text = async (): Promise<string> => Buffer.from(await auth.authData() ?? []).toString();
  switch (auth.method) {
    case "token":
      return new module.AuthenticationToken({ token: neverFailing(text, log) });
    case "basic": {
      const [username = "", ...password] = (await text()).split(":");
      return new module.AuthenticationBasic({ username, password: password.join(":") });
    }
    case "tls":
      return new module.AuthenticationTls({
        certificatePath: tls?.certFile ?? "",
        privateKeyPath: tls?.keyFile ?? "",
      });
    default:
      return undefined;
  }
}

/** A supplier that throws ends the process, and one that rejects stops a thread of the client for good. */
function neverFailing(supplier: () => Promise<string>, log?: Logger): () => Promise<string> {
  let last = "";
  return async () => {
    try {
      last = await supplier();
    } catch (error) {
      log?.warn("no new token for Pulsar: the last one is used again", { error });
    }
    return last;
  };
}
