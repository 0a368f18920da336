// What the tests of the configuration share: writing a file, and the words of a refusal.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type Config, loadConfigFile, parseConfig } from "../../src/config/mod.ts";
import { ConnectorError } from "../../src/core/errors.ts";

/** The smallest configuration that is right and gives no warning. */
export const small = {
  awsKinesisStreamName: "orders",
  awsRegion: "eu-west-1",
  applicationName: "app",
  useEnhancedFanOut: false,
  pulsar: { serviceUrl: "pulsar://localhost:6650", topic: "orders" },
} as const;

type Env = Readonly<Record<string, string | undefined>>;

/** A configuration from an object. */
export function parse(input: Record<string, unknown>, env: Env = {}): Config {
  return parseConfig(input, { env });
}

/** The lines of the refusal of an object. */
export function problems(input: Record<string, unknown>, env: Env = {}): string[] {
  try {
    parseConfig(input, { env });
  } catch (error) {
    return lines(error);
  }
  assert.fail("the configuration was accepted");
}

/** The problems of a CONFIG_INVALID error. */
export function lines(error: unknown): string[] {
  assert.ok(error instanceof ConnectorError, String(error));
  assert.equal(error.code, "CONFIG_INVALID");
  const all = error.message.split("\n");
  return all.length === 1 ? all : all.slice(1).map((line) => line.trim());
}

/** Writes a file and loads it; the folder is removed at the end of the test. */
export async function load(t: TestContext, name: string, text: string, env: Env = {}): Promise<Config> {
  return await loadConfigFile(await write(t, name, text), env);
}

/** Writes a file into a new folder. */
export async function write(t: TestContext, name: string, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "kinesis-pulsar-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

/** The problems of a file, with `file` for its path. */
export async function fileProblems(
  t: TestContext,
  name: string,
  text: string,
  env: Env = {},
): Promise<string[]> {
  const path = await write(t, name, text);
  try {
    await loadConfigFile(path, env);
  } catch (error) {
    return lines(error).map((line) => line.replaceAll(path, "file"));
  }
  assert.fail("the file was accepted");
}
