// What compression costs: CPU per MB and ratio of 128 KiB batches of JSON, per codec, and at the levels beside the
// chosen ones. `node --import tsx test/bench/codecs.ts`, `deno run -A test/bench/codecs.ts`.
//
// Last figures, CPU ms per MB (ratio), two shared cores under load, best of ten rounds:
//                         Node 20       Deno 2.9
//   lz4 (ours)            2.9 (3.2)     2.7 (3.2)
//   zlib (level 1)        5.5 (4.4)     3.4 (3.4)
//   zstd (level 1)        4.4 (5.2) *   2.9 (5.3)     * WebAssembly; from Node 22.15 on the runtime's own
//   snappy                4.2 (3.1)     4.8 (3.1)
//   zlib level 3 / 6      6.1 / 12      8.2 / 11
//   zstd level 3                        3.9 (5.3)
// Weighed and left: lz4js 4.9 / 3.9, lz4-wasm-nodejs 2.4 / 2.4 (20 MiB of memory for good after a message of 10 MiB,
// three copies), snappy-wasm 2.3 / 2.1 (initialized differently on each runtime), @hpcc-js/wasm-zstd 17 / 12; native
// add-ons not at all.

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import process from "node:process";
import zlib from "node:zlib";
import { loadCodec } from "../../src/pulsar/codecs/load.ts";
import { webAssemblyZstd, zstdCodec } from "../../src/pulsar/codecs/zstd.ts";
import { knownArguments } from "../usage.ts";

knownArguments({
  text: "node --import tsx test/bench/codecs.ts\nWhat compression costs: CPU per MB, and its ratio.",
});

const BATCH_BYTES = 128 * 1024;
const BATCHES = 32;
const ROUNDS = 10;

/** Rows of vega-datasets with keys and sequence numbers between them, as batches have. */
function batches(): Buffer[] {
  const rows = ["movies.json", "flights-10k.json", "earthquakes.json"].flatMap((file) => {
    const url = import.meta.resolve("vega-datasets").replace(
      /(node_modules\/vega-datasets\/).*/,
      `$1data/${file}`,
    );
    const parsed = JSON.parse(readFileSync(new URL(url), "utf8"));
    return (Array.isArray(parsed) ? parsed : parsed.features).map((row: unknown) => JSON.stringify(row));
  });
  const found: Buffer[] = [];
  let random = 12345;
  while (found.length < BATCHES) {
    const parts: Buffer[] = [];
    for (let bytes = 0; bytes < BATCH_BYTES; bytes += parts.at(-1)!.length) {
      random = (Math.imul(random, 1103515245) + 12345) >>> 0;
      const head = `\x0a\x20kinesis.sequence.number4957${random}${parts.length}\x12\x07key${random % 1000}`;
      parts.push(Buffer.from(head + rows[random % rows.length]));
    }
    found.push(Buffer.concat(parts).subarray(0, BATCH_BYTES));
  }
  return found;
}

const data = batches();
const megabytes = data.length * BATCH_BYTES / 1e6;

function measure(name: string, compress: (batch: Buffer) => Uint8Array | undefined): void {
  let best = Infinity;
  let size = 0;
  for (let round = 0; round < ROUNDS + 3; round++) {
    size = 0;
    const before = process.cpuUsage();
    for (const batch of data) size += (compress(batch) ?? batch).length;
    const { user, system } = process.cpuUsage(before);
    if (round >= 3) best = Math.min(best, (user + system) / 1000 / megabytes);
  }
  const ratio = (megabytes * 1e6 / size).toFixed(2);
  process.stdout.write(`${name.padEnd(24)} ${best.toFixed(2).padStart(6)} ms/MB   ratio ${ratio}\n`);
}

for (const name of ["lz4", "zlib", "zstd", "snappy"] as const) {
  const codec = await loadCodec(name);
  measure(name, (batch) => codec!.compress(batch));
}
const wasm = zstdCodec(await webAssemblyZstd());
measure("zstd in WebAssembly", (batch) => wasm.compress(batch));
for (const level of [3, 6]) measure(`zlib level ${level}`, (batch) => zlib.deflateSync(batch, { level }));
if (typeof zlib.zstdCompressSync === "function") {
  const params = { [zlib.constants.ZSTD_c_compressionLevel]: 3 };
  measure("zstd level 3", (batch) => zlib.zstdCompressSync(batch, { params }));
}
