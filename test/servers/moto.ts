// Amazon's CloudWatch and STS for tests, by moto (PyPI): an opinion that is not ours of what PutMetricData stores.

import { fileURLToPath } from "node:url";
import { type ServerProcess, startServer } from "./child.ts";
import { missingPython, pythonWith } from "./python-environment.ts";

const REQUIREMENTS = fileURLToPath(new URL("./moto-requirements.txt", import.meta.url));
const SERVER = fileURLToPath(new URL("./moto_server.py", import.meta.url));

/** A running server. */
export interface Moto {
  readonly url: string;
  stop(): Promise<void>;
}

/** Why it cannot be used here, or undefined: `test(name, { skip: motoMissing() ?? false }, …)`. */
export function motoMissing(): string | undefined {
  return missingPython(REQUIREMENTS);
}

/** Starts a server with nothing in it. Installs moto at first use: 300 MB, half a minute. */
export async function startMoto(): Promise<Moto> {
  const command = await pythonWith(REQUIREMENTS);
  const server: ServerProcess = await startServer({ name: "moto", command, args: [SERVER] });
  return { url: `http://127.0.0.1:${server.ready["port"]}`, stop: () => server.stop() };
}
