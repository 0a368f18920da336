// `npm run check:native`: is our interface of the official client (src/pulsar/native/api.ts) what the package says?
// Installs the package without running its scripts (no add-on is fetched) into a temporary folder, for its index.d.ts,
// and lets the compiler compare both directions: what we call exists, and what we hand over is taken.
//   npm run check:native -- [version …]     default: the oldest that package.json allows, and the newest

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const comparison = (api: string): string => `
import * as Official from "pulsar-client";
import type * as Ours from ${JSON.stringify(api)};

// What we call exists, and gives what we take it for.
export const module: Ours.PulsarClientModule = Official;
export const client = (official: Official.Client): Ours.PulsarClient => official;
export const producer = (official: Official.Producer): Ours.NativeProducer => official;

// What we hand over is taken.
type Params<C extends new (params: never) => unknown> = ConstructorParameters<C>[0];
export const message = (ours: Ours.ProducerMessage): Official.ProducerMessage => ours;
export const producerConfig = (ours: Ours.ProducerConfig): Official.ProducerConfig => ours;
export const clientConfig = (ours: Omit<Ours.ClientConfig, "authentication">): Official.ClientConfig => ours;
export const token = (ours: Ours.TokenParams): Params<typeof Official.AuthenticationToken> => ours;
export const basic = (ours: Ours.BasicParams): Params<typeof Official.AuthenticationBasic> => ours;
export const tls = (ours: Ours.TlsParams): Params<typeof Official.AuthenticationTls> => ours;

// No option of ours is unknown there (a name that is gone would be taken silently).
type Unknown<Mine, Theirs> = Exclude<keyof Mine, Theirs extends unknown ? keyof Theirs : never>;
export const unknown: [
  Unknown<Ours.ClientConfig, Official.ClientConfig>,
  Unknown<Ours.ProducerConfig, Official.ProducerConfig>,
  Unknown<Ours.ProducerMessage, Official.ProducerMessage>,
] extends [never, never, never] ? true : false = true;
`;

/** What the compiler says against a version of the package; nothing when they agree. */
function compare(version: string): string {
  const folder = mkdtempSync(join(tmpdir(), "kinesis-pulsar-native-"));
  try {
    writeFileSync(join(folder, "package.json"), "{}");
    const npm = ["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund"];
    run("npm", [...npm, `pulsar-client@${version}`], folder);
    const { version: found } = JSON.parse(
      readFileSync(join(folder, "node_modules", "pulsar-client", "package.json"), "utf8"),
    );
    writeFileSync(join(folder, "compare.ts"), comparison(join(ROOT, "src", "pulsar", "native", "api.ts")));
    const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--allowImportingTsExtensions"];
    const types = ["--types", "node", "--typeRoots", join(ROOT, "node_modules", "@types")];
    const compiled = spawnSync(process.execPath, [tsc, ...options, ...types, "compare.ts"], {
      cwd: folder,
      encoding: "utf8",
    });
    process.stdout.write(
      `pulsar-client ${found}: ${compiled.status === 0 ? "as our interface says" : "DIFFERS"}\n`,
    );
    return compiled.status === 0 ? "" : compiled.stdout || String(compiled.error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(command: string, args: readonly string[], cwd: string): void {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr || error}`);
}

const { peerDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const oldest = String(peerDependencies["pulsar-client"]).replace(/^[^\d]*/, "");
const given = process.argv.slice(2);
const differences = (given.length > 0 ? given : [oldest, "latest"]).map(compare).filter((text) =>
  text !== ""
);
for (const text of differences) process.stderr.write(text);
process.exitCode = differences.length === 0 ? 0 : 1;
