// From `pulsar.auth` and `pulsar.tls` to what a driver is given, and what can be known of them without a connection.

import { stat } from "node:fs/promises";
import { ConnectorError } from "../core/errors.ts";
import { keyFileSource } from "./auth/key-file.ts";
import { type AuthChoice, type AuthOptions, openAuth } from "./auth/open.ts";
import type { AuthSupplier } from "./auth/supplier.ts";
import { environmentToken, fileToken, fixedToken } from "./auth/token.ts";
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
    if (auth.token !== undefined) checks.push(() => fixedToken(auth.token!).token());
    if (auth.file !== undefined) checks.push(() => fileToken(auth.file!).token());
    if (auth.env !== undefined) checks.push(() => environmentToken(auth.env!, env).token());
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

/** It is not run: that would ask somebody for a token. */
async function scriptIsThere(path: string): Promise<void> {
  const isFile = await stat(path).then((found) => found.isFile(), () => false);
  if (isFile) return;
  throw new ConnectorError(`no token from pulsar.auth.script (${path}): there is no such file`, {
    code: "CONFIG_INVALID",
    where: { file: path, key: "pulsar.auth.script" },
  });
}
