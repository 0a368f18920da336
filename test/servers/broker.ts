// A real Apache Pulsar broker for tests (pulsar-standalone/start) and what tests ask of its admin REST interface.
// One broker serves a whole run: the runner starts it and hands it on in TEST_PULSAR_URL and TEST_PULSAR_ADMIN_URL.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startServer } from "./child.ts";
import { answerOf, cacheFolder, javaMissing, mavenMissing } from "./java.ts";

/** Where a broker listens. */
export interface BrokerUrls {
  readonly serviceUrl: string;
  readonly adminUrl: string;
}

/** A broker of one's own, to be killed, stopped and started again. */
export interface TestBroker extends BrokerUrls {
  /** The launcher; ends the broker when it ends. */
  readonly pid: number;
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
  /** Kills it, once it has stood still for half a second; the next one finds whole entries. */
  crash(): Promise<void>;
}

/** What {@link startBroker} takes. */
export interface StartBrokerOptions {
  /** More options of pulsar-standalone/start, such as `--dedup`. */
  readonly args?: readonly string[];
  /** Keeps data and ports here, so that a broker started again finds them. */
  readonly dataDir?: string;
}

const LAUNCHER = fileURLToPath(new URL("./pulsar-standalone/start", import.meta.url));

/** Also on a machine whose cores are wanted by others. */
const WRITES_END_MS = 500;

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
  const { brokerPid, ...ready } = server.ready as unknown as TestBroker & { brokerPid: number };
  return {
    ...ready,
    pid: server.pid,
    stop: () => server.stop(),
    async crash() {
      // SIGKILL may cut a write in two. The bookie's journal has no checksums: started again, it would take half an
      // entry for a whole one, and never open its topic again. A stopped thread has ended its write.
      process.kill(brokerPid, "SIGSTOP");
      await delay(WRITES_END_MS);
      process.kill(brokerPid, "SIGKILL");
      await server.stop();
    },
  };
}

/**
 * Brokers that take turns on one folder, whose data and ports each finds again. At the scope's end they are stopped and
 * then the folder is removed: hooks run in the order of their calls, and a broker that still runs writes into it.
 */
export function brokersOnOneFolder(
  scope: { after(close: () => unknown): void },
  args: readonly string[] = [],
): { start(): Promise<TestBroker> } {
  const dataDir = mkdtempSync(join(tmpdir(), "kinesis-pulsar-broker-"));
  const started: Promise<TestBroker>[] = [];
  scope.after(async () => {
    for (const starting of started) await starting.then((broker) => broker.stop(), () => {}); // who started it was told
    rmSync(dataDir, { recursive: true, force: true });
  });
  return {
    start() {
      const starting = startBroker({ args, dataDir });
      started.push(starting);
      return starting;
    },
  };
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
  if (answerOf("bash", "--version") === undefined) return "no bash";
  return javaMissing() ?? (jarsResolved() ? undefined : mavenMissing());
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
