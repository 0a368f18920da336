// What every AWS client of this program is made with. Invariant: no call can hang (hard time limit over the whole call,
// or until the answer begins where that lasts for minutes), and what the SDK says goes to our log, never to the console.

import process from "node:process";
import type { Logger } from "../core/log.ts";
import type { CredentialProvider } from "./credentials.ts";
import type { RequestHandler } from "./request-handler.ts";
import { type UserAgent, type UserAgentConfig, userAgentConfig } from "./user-agent.ts";

/** What differs between clients. */
export interface AwsClientOptions {
  readonly region: string;
  /** URL; AWS's own endpoint of the region when absent. */
  readonly endpoint?: string | undefined;
  /** See `openCredentials`. */
  readonly credentials: CredentialProvider;
  readonly userAgent: UserAgent;
  readonly log: Logger;
  /** Hard limit of one call, milliseconds. @default 30000 */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * Attempts of the SDK per call, the first included. 1 where every failure has to be seen: reads (each throttle is
   * told to `onThrottle`) and conditional writes. @default 3
   */
  readonly maxAttempts?: number | undefined;
  /** Connections to the endpoint; more calls wait. @default 512 */
  readonly maxSockets?: number | undefined;
  /**
   * For answers that last for minutes: `requestTimeoutMs` is until they begin, and whoever reads them has to cut those
   * that fall silent. Over HTTP/2, streams share connections. @default short answers over HTTP/1.1
   */
  readonly streaming?: "http1" | "http2" | undefined;
}

/** Constructor argument of any client of the AWS SDK. */
export interface AwsClientConfig extends UserAgentConfig {
  readonly region: string;
  readonly endpoint?: string;
  readonly credentials: CredentialProvider;
  readonly requestHandler: RequestHandler;
  readonly maxAttempts: number;
  /** "adaptive" (AWS_RETRY_MODE) would delay calls by itself; pacing is ours. */
  readonly retryMode: "standard";
  readonly logger: SdkLogger;
}

/** A log as the SDK's types want it. Ours has no `info`: where that exists, every answer is described for it. */
export interface SdkLogger {
  trace(): void;
  debug(): void;
  info(): void;
  warn(...words: unknown[]): void;
  error(): void;
}

/** The configuration of a client. Loads the SDK's HTTP handler on first use. */
export async function awsClientConfig(options: AwsClientOptions): Promise<AwsClientConfig> {
  silenceVersionWarning();
  const { openRequestHandler } = await import("./request-handler.ts");
  return {
    region: options.region,
    ...options.endpoint ? { endpoint: options.endpoint } : {},
    credentials: options.credentials,
    requestHandler: openRequestHandler(options),
    maxAttempts: options.maxAttempts ?? 3,
    retryMode: "standard",
    logger: sdkLogger(options.log),
    ...userAgentConfig(options.userAgent),
  };
}

/** The SDK announces on Node 20, on stderr, that it will need 22; our README says so. */
export function silenceVersionWarning(): void {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
}

function sdkLogger(log: Logger): SdkLogger {
  const logger: Omit<SdkLogger, "info"> = {
    trace() {},
    debug() {},
    warn: (...words) => log.warn(`AWS SDK: ${words.filter((word) => typeof word === "string").join(" ")}`),
    // It gives each failed call with its input here; failures reach our log as ConnectorErrors.
    error() {},
  };
  return logger as SdkLogger;
}
