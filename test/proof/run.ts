// `npm run proof [-- [--short] [--rounds=N] [--node | --deno] [name …]]`: the proofs with a program as child process, one after the
// other, and a table of what came out. Exit code 1 when one failed. Each is bounded in time. All of them on both
// runtimes; short, with neither named, dear ones on one.

import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { brokerKills } from "./broker-kills.ts";
import { busyHook } from "./busy-hook.ts";
import { cleanStop } from "./clean-stop.ts";
import { frozen } from "./frozen.ts";
import { kclFleet } from "./kcl-fleet.ts";
import { kills } from "./kills.ts";
import { latest } from "./latest.ts";
import { memory } from "./memory.ts";
import { FILTERED, MULTIPLIED } from "./made-messages.ts";
import { onceChunks } from "./once-chunks.ts";
import { onceSteal } from "./once-steal.ts";
import type { Figures, ProofScope } from "./proof.ts";
import { simulation } from "./simulation.ts";
import { takeover } from "./takeover.ts";
import { unloads } from "./unloads.ts";
import { knownArguments } from "../usage.ts";

type Runtime = "node" | "deno";
const BOTH: readonly Runtime[] = ["node", "deno"];

/** How much of a proof is wanted. */
interface Size {
  readonly short: boolean;
  /** The number of rounds: as asked for, else the short or the long one. */
  rounds(short: number, long: number): number;
}

/** A proof, and where its short version runs when no runtime is asked for. */
interface Proof {
  readonly prove: (scope: ProofScope, size: Size) => Promise<Figures>;
  /** @default both */
  readonly shortOn?: readonly Runtime[];
}

const COMPRESSED = { compression: "lz4" };
/** Both delivery guarantees. */
const [ONCE, PLAIN] = ["effectively-once", "at-least-once"] as const;

/** By name, in the order in which they run. */
const PROOFS: Readonly<Record<string, Proof>> = {
  simulation: { prove: (scope, { rounds }) => simulation(scope, { stories: rounds(1_000, 50_000) }) },
  kills: { prove: (scope, { rounds }) => kills(scope, { rounds: rounds(5, 50) }) },
  latest: { prove: (scope, { rounds }) => latest(scope, { rounds: rounds(2, 10) }) },
  "latest-once": {
    prove: (scope, { rounds }) => latest(scope, { rounds: rounds(2, 10), delivery: ONCE }),
    shortOn: [],
  },
  "clean-stop": { prove: (scope, { rounds }) => cleanStop(scope, { rounds: rounds(3, 15) }) },
  takeover: { prove: (scope, { rounds }) => takeover(scope, { rounds: rounds(1, 6) }) },
  frozen: { prove: (scope, { rounds }) => frozen(scope, { rounds: rounds(1, 5) }) },
  "busy-hook": {
    prove: (scope, { short }) =>
      busyHook(
        scope,
        short ? { loopMs: 4_000, failoverTimeMs: 2_000 } : { loopMs: 15_000, failoverTimeMs: 10_000 },
      ),
  },
  memory: { prove: (scope, { short }) => memory(scope, { recordsPerShard: short ? 6 : 16 }) },
  "memory-once": {
    prove: (scope, { short }) => memory(scope, { recordsPerShard: short ? 6 : 16, delivery: ONCE }),
    shortOn: [],
  },
  once: {
    prove: (scope, { rounds }) =>
      kills(scope, { rounds: rounds(4, 100), delivery: ONCE, made: FILTERED, pulsar: COMPRESSED }),
  },
  "once-many": {
    prove: (scope, { rounds }) =>
      kills(scope, { rounds: rounds(2, 100), delivery: ONCE, made: MULTIPLIED, pulsar: COMPRESSED }),
    shortOn: ["deno"],
  },
  "once-steal": {
    prove: (scope, { rounds }) => onceSteal(scope, { rounds: rounds(3, 100) }),
    shortOn: ["node"],
  },
  "once-chunks": {
    prove: (scope, { rounds }) => onceChunks(scope, { rounds: rounds(2, 100) }),
    shortOn: ["deno"],
  },
  "broker-kills": {
    prove: (scope, { rounds }) => brokerKills(scope, { rounds: rounds(2, 20), delivery: ONCE }),
    shortOn: ["node"],
  },
  "broker-kills-plain": {
    prove: (scope, { rounds }) => brokerKills(scope, { rounds: rounds(2, 20), delivery: PLAIN }),
    shortOn: [],
  },
  "kcl-fleet": {
    prove: (scope, { short }) => kclFleet(scope, { steadyMs: short ? 60_000 : 300_000 }),
    shortOn: [], // a test does it
  },
  unloads: {
    prove: (scope, { rounds }) => unloads(scope, { rounds: rounds(12, 200), delivery: ONCE }),
    shortOn: ["deno"],
  },
  "unloads-plain": {
    prove: (scope, { rounds }) => unloads(scope, { rounds: rounds(20, 200), delivery: PLAIN }),
    shortOn: [],
  },
};

/** The longest that one proof may take. */
const TIMEOUT_MS = 30 * 60_000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** What became of one proof. */
interface Result {
  readonly name: string;
  readonly runtime: string;
  readonly seconds: number;
  readonly figures?: Figures;
  readonly error?: unknown;
}

async function prove(name: string, runtime: Runtime, size: Size): Promise<Result> {
  const closers: (() => unknown)[] = [];
  const start = performance.now();
  const over = new AbortController();
  try {
    const scope: ProofScope = {
      runtime,
      after: (close) => closers.push(close),
      say: (line) => say(`  ${name} ${line}`),
    };
    const tooLong = delay(TIMEOUT_MS, undefined, { signal: over.signal }).then(() => {
      throw new Error(`not done after ${TIMEOUT_MS / 60_000} minutes`);
    });
    tooLong.catch(() => {}); // aborted when the proof is done
    const figures = await Promise.race([PROOFS[name]!.prove(scope, size), tooLong]);
    return { name, runtime, seconds: (performance.now() - start) / 1000, figures };
  } catch (error) {
    return { name, runtime, seconds: (performance.now() - start) / 1000, error };
  } finally {
    over.abort();
    for (const close of closers.reverse()) await close();
  }
}

function table(results: readonly Result[]): string {
  const head = [
    "proof",
    "runtime",
    "rounds",
    "valid",
    "in flight",
    "records",
    "duplicates",
    "lost",
    "seconds",
    "",
  ];
  const lines = results.map(({ name, runtime, seconds, figures, error }) => [
    name,
    runtime,
    ...[
      figures?.rounds,
      figures?.valid,
      figures?.inFlight,
      figures?.records,
      figures?.duplicates,
      figures?.lost,
    ]
      .map((figure) => figure === undefined ? "" : String(figure)),
    seconds.toFixed(0),
    error === undefined ? figures?.remark ?? "" : "FAILED",
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...lines].map((line) => line[column]!.length)));
  return [head, ...lines]
    .map((line) =>
      line.map((cell, column) =>
        column < 2 || column === head.length - 1
          ? cell.padEnd(widths[column]!)
          : cell.padStart(widths[column]!)
      ).join("  ").trimEnd()
    )
    .join("\n");
}

const USAGE = `npm run proof [-- [--short] [--rounds=N] [--node | --deno] [name …]]
The proofs one after the other, on both runtimes, and a table of what came out.
  --short           few rounds; where neither names nor runtimes are given, dear proofs on one runtime
  --rounds=N        so many rounds
  --node, --deno    one runtime
names: ${Object.keys(PROOFS).join(" ")}`;

async function main(): Promise<number> {
  const args = knownArguments({
    text: USAGE,
    options: /^--(short|node|deno|rounds=[1-9][0-9]*)$/,
    words: (name) => Object.hasOwn(PROOFS, name),
  });
  const short = args.includes("--short");
  const given = Number(args.find((arg) => arg.startsWith("--rounds="))?.slice("--rounds=".length)) ||
    undefined;
  const size: Size = { short, rounds: (few, many) => given ?? (short ? few : many) };
  const asked = BOTH.filter((name) => args.includes(`--${name}`));
  const wanted = args.filter((arg) => !arg.startsWith("--"));
  const results: Result[] = [];
  for (const name of wanted.length > 0 ? wanted : Object.keys(PROOFS)) {
    const shortOn = wanted.length > 0 ? BOTH : PROOFS[name]!.shortOn ?? BOTH;
    for (const runtime of asked.length > 0 ? asked : short ? shortOn : BOTH) {
      say(`${name} on ${runtime}`);
      const result = await prove(name, runtime, size);
      if (result.error !== undefined) say(`FAILED: ${(result.error as Error).stack ?? result.error}`);
      results.push(result);
    }
  }
  say(`\n${table(results)}`);
  return results.some(({ error }) => error !== undefined) ? 1 : 0;
}

process.exitCode = await main();
process.exit();
