// How each AWS service is reached by a configuration: one base identity, and for a service with a role of its own that
// role on top of it; its own region and endpoint. The connector and the `leases` command use the same.

import pkg from "../package.json" with { type: "json" };
import { type AwsClientConfig, awsClientConfig } from "./aws/client-config.ts";
import {
  assumeRole,
  type CredentialOptions,
  type CredentialProvider,
  openCredentials,
} from "./aws/credentials.ts";
import type { Config } from "./config/mod.ts";
import type { Clock } from "./core/clock.ts";
import type { Logger } from "./core/log.ts";
import { importScript } from "./hooks/import.ts";
import type { LeaseStore } from "./leases/store.ts";
import { leaseTimes } from "./leases/times.ts";

/** The table of the configuration that says how a service is reached. */
export type AwsService = "kinesis" | "leases" | "metrics";

/** What differs between the clients of a service. */
export interface ClientLimits {
  readonly maxAttempts: number;
  /** Hard limit of one call, milliseconds. @default 30000 */
  readonly requestTimeoutMs?: number;
  /** For answers that last for minutes. @default short ones */
  readonly streaming?: "http1" | "http2";
}

/** Gives the configuration of a client for a service. */
export type AwsAccess = (service: AwsService, limits: ClientLimits) => Promise<AwsClientConfig>;

/** Nothing is asked of AWS before a client is used; the base identity is opened once for all services. */
export function awsAccess(config: Config, clock: Clock, log: Logger): AwsAccess {
  const userAgent = { applicationName: config.applicationName, version: pkg.version };
  const optionsIn = (region: string): CredentialOptions => ({
    sts: { region },
    userAgent,
    clock,
    log,
    importScript: (path) => importScript(path),
  });
  let base: Promise<CredentialProvider> | undefined;
  // A service's clients (fan-out has two) share its role: it is taken on once, and renewed once.
  const identities = new Map<AwsService, Promise<CredentialProvider>>();
  const identityOf = async (service: AwsService): Promise<CredentialProvider> => {
    const { region, roleArn, externalId } = config[service];
    const own = await (base ??= openCredentials(config.awsCredentials, optionsIn(config.awsRegion)));
    // A service in another region asks the STS of that region: one less that has to be up, and to be allowed.
    return roleArn === undefined ? own : await assumeRole({ roleArn, externalId }, own, optionsIn(region));
  };
  return async (service, limits) => {
    const { region, endpoint } = config[service];
    const identity = identities.get(service) ?? identityOf(service);
    identities.set(service, identity);
    const credentials = await identity;
    return await awsClientConfig({ region, endpoint, credentials, userAgent, log, ...limits });
  };
}

/** The lease table of a configuration; nothing is asked of AWS yet. */
export async function openLeaseStore(config: Config, aws: AwsAccess, clock: Clock): Promise<LeaseStore> {
  if (config.leases.store === "memory") {
    const { MemoryLeaseStore } = await import("./leases/memory.ts");
    return new MemoryLeaseStore();
  }
  const { createDynamoDbLeaseStore } = await import("./leases/dynamodb.ts");
  const { writeTimeoutMs, callTimeoutMs } = leaseTimes(config.leases.failoverTimeMs);
  return await createDynamoDbLeaseStore({
    tableName: config.leaseTable,
    clientConfig: await aws("leases", { maxAttempts: 1, requestTimeoutMs: callTimeoutMs }),
    clock,
    writeTimeoutMs,
    callTimeoutMs,
  });
}
