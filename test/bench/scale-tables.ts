// DynamoDB for measurements, in a process of its own: dynalite, with a count of the calls by operation. Prints one JSON
// line when it serves; GET /calls gives the counts. Ends when its standard input does.

import { createRequire } from "node:module";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";

const dynalite = createRequire(import.meta.url)("dynalite") as (options: object) => Server;
const server = dynalite({ createTableMs: 0, deleteTableMs: 0 });
const calls: Record<string, number> = {};
server.on("request", ({ headers }) => {
  const operation = String(headers["x-amz-target"]).split(".").at(-1)!;
  calls[operation] = (calls[operation] ?? 0) + 1;
});
const counts = createServer((_request, response) => response.end(JSON.stringify(calls)));

const listen = (one: Server): Promise<string> =>
  new Promise((resolve, reject) => {
    one.once("error", reject);
    one.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(one.address() as AddressInfo).port}`));
  });

process.stdout.write(JSON.stringify({ url: await listen(server), countsUrl: await listen(counts) }) + "\n");
const end = () => process.exit(0);
process.stdin.resume().on("end", end);
process.on("SIGTERM", end);
