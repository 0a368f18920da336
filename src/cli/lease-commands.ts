// The commands about the lease table, as entries of the list in commands.ts.

import type { CommandSpec, OptionSpec } from "./commands.ts";

const JSON_FLAG: OptionSpec = { name: "json", help: "print JSON, with whole numbers and names" };
const SHARD: OptionSpec = { name: "shard", value: "ID", help: "one shard instead of all" };
const FORCE: OptionSpec = {
  name: "force",
  help: "also while workers are alive: they lose their leases, and read\nagain what they have in flight",
};
const DRY: OptionSpec = { name: "dry", help: "tell what would be written, and write nothing" };

const isGiven = (value: string | undefined): boolean => value !== undefined;

export const leaseCommands: readonly CommandSpec[] = [
  {
    name: "leases",
    args: "<file>",
    summary: "show who reads which shard, how far, and how far behind",
    details:
      "Shows the lease table of FILE: owner, checkpoint, lag and seconds until unread data expires of each shard, and\n" +
      "whether each owner is alive (found out by watching for up to leases.failoverTimeMs). Changes nothing, and may\n" +
      "run beside working connectors, Java ones too.",
    options: [
      JSON_FLAG,
      { name: "quick", help: "one look at the table only: no lag, and not whether owners are alive" },
    ],
    examples: ["kinesis-pulsar leases connector.toml", "kinesis-pulsar leases connector.toml --json --quick"],
    run: async ({ args, options }) => {
      const { showLeases } = await import("./leases.ts");
      return await showLeases({
        file: args[0]!,
        json: isGiven(options["json"]),
        quick: isGiven(options["quick"]),
      });
    },
  },
  {
    name: "leases reset",
    args: "<file>",
    summary: "let all shards begin at another position, while no worker runs",
    details:
      "Writes the leases of FILE anew for a position, as if the connector began there for the first time: shards that\n" +
      "were finished since then come back, and hold their children back until they are read again. Numbers of\n" +
      "effectively-once begin anew, so what is read again is published again. Refused while a worker is alive.",
    options: [
      {
        name: "to",
        value: "POSITION",
        isRequired: true,
        help: "LATEST (what arrives from now on), TRIM_HORIZON (all that the stream\n" +
          "keeps), a time (2026-09-01T00:00Z, -6h), or with --shard the sequence\nnumber of the first record",
      },
      SHARD,
      DRY,
      FORCE,
      JSON_FLAG,
    ],
    examples: [
      "kinesis-pulsar leases reset connector.toml --to -6h --dry",
      "kinesis-pulsar leases reset connector.toml --to TRIM_HORIZON",
      "kinesis-pulsar leases reset connector.toml --to 2026-09-01T00:00Z",
    ],
    run: async ({ args, options }) => {
      const { resetLeases } = await import("./leases.ts");
      return await resetLeases({
        file: args[0]!,
        to: options["to"]!,
        shardId: options["shard"],
        dryRun: isGiven(options["dry"]),
        force: isGiven(options["force"]),
        json: isGiven(options["json"]),
      });
    },
  },
  {
    name: "leases release",
    args: "<file>",
    summary: "take the owners out of the leases, checkpoints stay",
    details:
      "Gives up what dead workers hold, so that others take it at once instead of after leases.failoverTimeMs.\n" +
      "Refused while a worker is alive.",
    options: [SHARD, DRY, FORCE, JSON_FLAG],
    examples: ["kinesis-pulsar leases release connector.toml"],
    run: async ({ args, options }) => {
      const { releaseLeases } = await import("./leases.ts");
      return await releaseLeases({
        file: args[0]!,
        shardId: options["shard"],
        dryRun: isGiven(options["dry"]),
        force: isGiven(options["force"]),
        json: isGiven(options["json"]),
      });
    },
  },
];
