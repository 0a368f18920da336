// A real Apache Pulsar broker for tests (pulsar-standalone/start) and what tests ask of its admin REST interface.
// One broker serves a whole run: the runner starts it and hands it on in TEST_PULSAR_URL and TEST_PULSAR_ADMIN_URL.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { startServer } from "./child.ts";

/** Where a broker listens. */
export interface BrokerUrls {
  readonly serviceUrl: string;
  readonly adminUrl: string;
}

/** A broker of one's own, to be killed, stopped and started again. */
export interface TestBroker extends BrokerUrls {
  /** The launcher; ends the broker when it ends. */
  readonly pid: number;
  /** The broker's JVM: `process.kill(brokerPid, "SIGKILL")` is a crash. */
  readonly brokerPid: number;
  /** With `--auth-token`: role admin, and role user without rights until granted. */
  readonly token?: string;
  readonly userToken?: string;
  /** What tokens are signed with (HS256). */
  readonly tokenSecretKeyFile?: string;
  /** With `--tls`. */
  readonly serviceUrlTls?: string;
  readonly adminUrlTls?: string;
  readonly caFile?: string;
  stop(): Promise<void>;
}

/** What {@link startBroker} takes. */
export interface StartBrokerOptions {
  /** More options of pulsar-standalone/start, such as `--dedup`. */
  readonly args?: readonly string[];
  /** Keeps data and ports here, so that a broker started again finds them. */
  readonly dataDir?: string;
}

const LAUNCHER = fileURLToPath(new URL("./pulsar-standalone/start", import.meta.url));

let shared: Promise<BrokerUrls> | undefined;
let missing: { readonly reason: string | undefined } | undefined;

/** The broker that all tests share; started on first use, stopped when this process ends. */
export function pulsarBroker(): Promise<BrokerUrls> {
  const { TEST_PULSAR_URL: serviceUrl, TEST_PULSAR_ADMIN_URL: adminUrl } = process.env;
  if (serviceUrl && adminUrl) return Promise.resolve({ serviceUrl, adminUrl });
  return shared ??= startBroker();
}

/** A broker of one's own. The caller stops it; it also ends with this process. */
export async function startBroker(options: StartBrokerOptions = {}): Promise<TestBroker> {
  const data = options.dataDir === undefined ? [] : ["--data", options.dataDir];
  const server = await startServer({
    name: "pulsar-standalone",
    command: "bash",
    args: [LAUNCHER, "--until-eof", ...data, ...(options.args ?? [])],
  });
  return { ...server.ready as unknown as TestBroker, pid: server.pid, stop: () => server.stop() };
}

/**
 * Why a real broker cannot run here, or undefined: `test(name, { skip: brokerMissing() ?? false }, …)`.
 * With CI=true it throws instead, so that no test of it is skipped there.
 */
export function brokerMissing(): string | undefined {
  missing ??= { reason: whyMissing() };
  if (missing.reason !== undefined && process.env.CI === "true") {
    throw new Error(`tests need a real Pulsar broker: ${missing.reason}`);
  }
  return missing.reason;
}

function whyMissing(): string | undefined {
  if (process.env.TEST_PULSAR_URL) return undefined;
  const answer = (command: string, ...args: string[]): string | undefined => {
    const run = spawnSync(command, args, { encoding: "utf8" });
    return run.error || run.status !== 0 ? undefined : run.stdout + run.stderr;
  };
  if (answer("bash", "--version") === undefined) return "no bash";
  const java = answer(javaCommand("java"), "-version");
  if (java === undefined) return "no Java (17 or newer)";
  const major = Number(/ version "(\d+)/.exec(java)?.[1] ?? 0);
  if (major < 17) return `Java is version ${major}, 17 or newer is needed`;
  if (answer(javaCommand("javac"), "-version") === undefined) {
    return "no javac: a JDK is needed, not only a JRE";
  }
  if (!jarsResolved() && answer(process.env.MVN ?? "mvn", "-v") === undefined) return "no Maven";
  return undefined;
}

/** `java` or `javac`, as the launcher finds it. */
export function javaCommand(name: "java" | "javac"): string {
  return process.env.JAVA_HOME ? join(process.env.JAVA_HOME, "bin", name) : name;
}

/** The launcher's cache folder (PULSAR_STANDALONE_CACHE). */
export function cacheFolder(): string {
  return process.env.PULSAR_STANDALONE_CACHE ??
    join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "pulsar-standalone");
}

// Maven is needed only until the jars are there; the launcher judges better, this only decides about skipping.
function jarsResolved(): boolean {
  const folder = cacheFolder();
  return existsSync(folder) && readdirSync(folder).some((name) => /^classpath-.*\.txt$/.test(name));
}

/** The file with the class path of the broker's jars, which hold the official Java client. Fetches them if needed. */
export function resolveClassPath(): string {
  const run = spawnSync("bash", [LAUNCHER, "--resolve-only"], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`pulsar-standalone: ${run.stderr || run.error}`);
  return run.stdout.trim();
}
