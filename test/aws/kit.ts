// What tests of credentials share: an STS stand-in with the options to reach it, an AWS environment of their own, files.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { TestContext } from "node:test";
import { errorText } from "../../src/cli/errors.ts";
import { messageOf } from "../../src/core/errors.ts";
import type { CredentialOptions } from "../../src/aws/credentials.ts";
import { FakeClock, RecordingLogger } from "../fakes.ts";
import { startSts, type Sts } from "../servers/sts.ts";

/** Options with a clock that stands still at the real time. */
export interface Kit {
  readonly clock: FakeClock;
  readonly log: RecordingLogger;
  readonly options: CredentialOptions;
}

export function kit(stsUrl = "http://127.0.0.1:1"): Kit {
  const clock = new FakeClock({ now: Date.now() });
  const log = new RecordingLogger();
  const options: CredentialOptions = {
    sts: { region: "eu-west-1", endpoint: stsUrl },
    userAgent: { applicationName: "My test application", version: "1.2.3" },
    clock,
    log,
  };
  return { clock, log, options };
}

/** A kit with a running STS, whose keys end by the kit's clock. */
export async function stsKit(t: TestContext): Promise<Kit & { readonly sts: Sts }> {
  const holder: { clock?: FakeClock } = {};
  const sts = await startSts({ now: () => holder.clock!.now() });
  t.after(() => sts.close());
  const made = kit(sts.url);
  holder.clock = made.clock;
  return { ...made, sts };
}

/**
 * Replaces every AWS_ variable for one test. Without more the SDK's chain finds nothing, and asks nobody.
 */
export async function awsEnvironment(t: TestContext, variables: Record<string, string> = {}): Promise<void> {
  const directory = await temporaryDirectory(t);
  const names = Object.keys(process.env).filter((name) => name.startsWith("AWS_"));
  const before = names.map((name) => [name, process.env[name]] as const);
  const during: Record<string, string> = {
    AWS_SHARED_CREDENTIALS_FILE: join(directory, "credentials"),
    AWS_CONFIG_FILE: join(directory, "config"),
    AWS_EC2_METADATA_DISABLED: "true",
    ...variables,
  };
  t.after(() => {
    for (const name of Object.keys(during)) delete process.env[name];
    for (const [name, value] of before) process.env[name] = value;
  });
  for (const name of names) delete process.env[name];
  Object.assign(process.env, during);
}

/** A file in a directory of its own, gone after the test. Gives its path. */
export async function temporaryFile(t: TestContext, name: string, text: string): Promise<string> {
  const path = join(await temporaryDirectory(t), name);
  await writeFile(path, text);
  return path;
}

async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "kinesis-pulsar-aws-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** All that the program could ever show of an error: its output with --verbose, and each message of its causes. */
export function everythingShown(error: unknown): string {
  const texts = [errorText(error, true), JSON.stringify(error)];
  for (let one = error; one instanceof Error; one = one.cause) texts.push(messageOf(one), one.stack ?? "");
  return texts.join("\n");
}

/** What a promise is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it was not rejected");
}
