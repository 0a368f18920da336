// From `pulsar.auth` and `pulsar.tls` to what a driver is given, and what can be known of them without a connection.

import { stat } from "node:fs/promises";
import { ConnectorError } from "../core/errors.ts";
import { keyFileSource } from "./auth/key-file.ts";
import { type AuthChoice, type AuthOptions, openAuth } from "./auth/open.ts";
import type { AuthSupplier } from "./auth/supplier.ts";
import { environmentToken, fileToken, fixedToken, type TokenSource } from "./auth/token.ts";
import { expiryOf } from "./auth/token-expiry.ts";
import { readTlsFiles, type TlsOptions } from "./tls-files.ts";

/** As configured; files are paths. */
export interface SecurityChoice {
  readonly auth: AuthChoice;
  readonly tls?: TlsOptions | undefined;
}

/** Supplier and files for a driver. Throws as {@link openAuth}. */
export async function openSecurity(
  { auth, tls }: SecurityChoice,
  options: AuthOptions,
): Promise<{ readonly auth: AuthSupplier; readonly tls: TlsOptions }> {
  return { auth: await openAuth(auth, options), tls: tlsOptions({ auth, tls }) };
}

/** What is wrong with files and variables now: ConnectorErrors that name key and file. */
export async function securityFaults(
  choice: SecurityChoice,
  env: AuthOptions["env"],
  now: number,
): Promise<ConnectorError[]> {
  const { auth } = choice;
  const checks: (() => unknown)[] = [() => readTlsFiles(tlsOptions(choice), now)];
  if (auth.type === "token") {
    const check = (key: string, source: TokenSource) => checks.push(() => tokenIsValid(source, key, now));
    if (auth.token !== undefined) check("token", fixedToken(auth.token));
    if (auth.file !== undefined) check("file", fileToken(auth.file));
    if (auth.env !== undefined) check("env", environmentToken(auth.env, env));
    if (auth.script !== undefined) checks.push(() => scriptIsThere(auth.script!));
  }
  if (auth.type === "oauth2" && auth.keyFile !== undefined) checks.push(keyFileSource(auth.keyFile).client);
  const faults: ConnectorError[] = [];
  for (const check of checks) {
    try {
      await check();
    } catch (error) {
      if (!(error instanceof ConnectorError)) throw error;
      faults.push(error);
    }
  }
  return faults;
}

function tlsOptions({ auth, tls }: SecurityChoice): TlsOptions {
  if (auth.type !== "tls") return { ...tls };
  const { certFile, keyFile } = auth;
  return { ...tls, certFile, keyFile, clientTable: "pulsar.auth" };
}

async function tokenIsValid({ source, token }: TokenSource, key: string, now: number): Promise<void> {
  const end = expiryOf(await token());
  if (end === undefined || end > now) return;
  throw new ConnectorError(
    `the token of ${source} expired on ${new Date(end).toISOString()}: give a new one`,
    {
      code: "CONFIG_INVALID",
      where: { key: `pulsar.auth.${key}` },
    },
  );
}

/** It is not run: that would ask somebody for a token. */
async function scriptIsThere(path: string): Promise<void> {
  const isFile = await stat(path).then((found) => found.isFile(), () => false);
  if (isFile) return;
  throw new ConnectorError(`no token from pulsar.auth.script (${path}): there is no such file`, {
    code: "CONFIG_INVALID",
    where: { file: path, key: "pulsar.auth.script" },
  });
}
