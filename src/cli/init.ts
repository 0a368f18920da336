// `kinesis-pulsar init`: a configuration and a hook script to begin with. It never overwrites: it writes all files or,
// where one of them exists, none.

import { mkdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { ConnectorError } from "../core/errors.ts";
import { EXIT } from "./errors.ts";
import { CONNECTOR_TOML, ORDERS_HOOK } from "./templates.ts";

const FILES = [["connector.toml", CONNECTOR_TOML], ["hooks/orders.mts", ORDERS_HOOK]] as const;

/** Writes the files into `dir`. Gives the exit code. */
export async function init(options: { dir: string }): Promise<number> {
  const files = FILES.map(([name, content]) => ({ path: join(options.dir, name), content }));
  const existing = [];
  for (const file of files) if (await exists(file.path)) existing.push(file.path);
  if (existing.length > 0) {
    process.stderr.write(
      `kinesis-pulsar: nothing written, because these exist already: ${existing.join(", ")}\n`,
    );
    return EXIT.usage;
  }
  for (const { path, content } of files) {
    try {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content, { flag: "wx" });
    } catch (cause) {
      throw new ConnectorError(
        `${path} cannot be written: ${String((cause as { code?: unknown }).code ?? cause)}`,
        {
          code: "CONFIG_INVALID",
          cause,
          where: { file: path },
        },
      );
    }
    process.stdout.write(`wrote ${path}\n`);
  }
  const config = files[0]!.path;
  process.stdout.write(
    `\nNext: set stream, region and topic in ${config}, then\n` +
      `  kinesis-pulsar validate ${config}\n  kinesis-pulsar run ${config}\n`,
  );
  return EXIT.done;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    return true; // there, but not for us: writing would fail as well
  }
}
