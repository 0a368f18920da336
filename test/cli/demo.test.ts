import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { demo, type DemoConnector } from "../../src/cli/demo.ts";
import { DEMO_HOOK, OrderBook } from "../../src/cli/demo-orders.ts";
import { runtimeName } from "../../src/runtime.ts";
import { brokerMissing, pulsarBroker } from "../servers/broker.ts";

const skip = brokerMissing() ?? false;
const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

function capture(): { lines: string[]; print: (line: string) => void } {
  const lines: string[] = [];
  return { lines, print: (line) => void lines.push(line) };
}

/** A connector that moves nothing. */
function idleConnector(overrides: Partial<DemoConnector> = {}): DemoConnector {
  let end: () => void;
  const finished = new Promise<{ undrained: [] }>((resolve) => end = () => resolve({ undrained: [] }));
  return {
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(end()),
    finished,
    status: () => ({ millisBehindLatest: undefined }),
    on: () => {},
    ...overrides,
  };
}

test("demo: shows orders, rates, checkpoints and its hook, and what to do next, and ends with 0", async () => {
  const { lines, print } = capture();
  const code = await demo({ seconds: 8 }, { print }); // checkpoints come every 2 s; the machine may be busy
  const text = lines.join("\n");
  assert.equal(code, 0, text);
  assert.ok(lines.some((line) => line.includes("→") && line.includes('"total":"')), text);
  for (const line of DEMO_HOOK.trimEnd().split("\n")) assert.ok(text.includes(line), line);
  assert.match(text, /\n {2}\d s {2}\d+ put · \d+ arrived · \d+\/s · \d+ test orders dropped/);
  assert.match(text, /checkpoints: shard \d at …\d{6} \(\+\d+\)/);
  assert.match(text, /missing +0\n/);
  assert.match(text, /first arrival +[\d.]+ s/);
  for (const next of ["init", "validate", "run"]) assert.match(text, new RegExp(`kinesis-pulsar ${next}`));
  assert.ok(!text.includes("\x1b"), "colours are for terminals");
});

test("demo: publishes to a broker that is named", { skip }, async () => {
  const { lines, print } = capture();
  const { serviceUrl } = await pulsarBroker();
  const code = await demo({ seconds: 2, pulsar: serviceUrl }, { print });
  const text = lines.join("\n");
  assert.equal(code, 0, text);
  assert.ok(text.includes(`your Pulsar broker at ${serviceUrl}`), text);
});

test("demo: ends with 1 and the reason when nothing arrives", async () => {
  const { lines, print } = capture();
  const parts = { print, deliveryTimeoutMs: 50, createConnector: () => idleConnector() };
  assert.equal(await demo({ seconds: 1 }, parts), 1);
  assert.ok(lines.includes("The demo failed: no order arrived"), lines.join("\n"));
});

test("demo: ends with 1 and the reason when the connector fails", async () => {
  const error = new Error("no luck");
  for (
    const overrides of [
      () => ({ start: () => Promise.reject(error) }),
      () => ({ finished: Promise.resolve({ error, undrained: [] }) }),
    ]
  ) {
    const { lines, print } = capture();
    const createConnector = () => idleConnector(overrides());
    assert.equal(await demo({ seconds: 60 }, { print, createConnector, deliveryTimeoutMs: 50 }), 1);
    assert.ok(lines.includes("The demo failed: no luck"), lines.join("\n"));
  }
});

test("demo: ends with 1 when the broker that was named cannot be reached", async () => {
  const { lines, print } = capture();
  assert.equal(await demo({ seconds: 60, pulsar: "pulsar://127.0.0.1:1" }, { print }), 1);
  assert.match(lines.join("\n"), /The demo failed: Pulsar broker 127\.0\.0\.1:1: .*ECONNREFUSED/);
});

test("demo: as a program it stops cleanly on SIGINT and ends with 0", async (t) => {
  const args = runtimeName === "deno" ? ["run", "-A", MAIN] : ["--import", "tsx", MAIN];
  const child = spawn(process.execPath, [...args, "demo"], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const { code, text } = await untilEnd(child, "→", () => process.kill(child.pid!, "SIGINT"));
  assert.equal(code, 0, text);
  assert.match(text, /Every order arrived\./);
});

/** Calls `seen` once when the output has this text; gives all output and the exit code. */
function untilEnd(
  child: ChildProcess,
  wanted: string,
  seen: () => void,
): Promise<{ text: string; code: number | null }> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout?.on("data", (data) => {
      const before = text.includes(wanted);
      text += data;
      if (!before && text.includes(wanted)) seen();
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ text, code })); // after child.kill() Deno tells the signal, no code
  });
}

test("demo: the book tells orders that are lost, dropped, repeated and somebody else's", () => {
  let turn = 0;
  const book = new OrderBook("run", () => (turn++ % 40) / 40);
  const orders = Array.from({ length: 40 }, () => book.next());
  const wanted = orders.filter((order) => order.customer !== "test");
  assert.ok(wanted.length < orders.length);
  assert.equal(book.put, 40);
  assert.equal(book.dropped, orders.length - wanted.length);
  assert.equal(book.missing, wanted.length);
  for (const order of wanted.slice(1)) assert.ok(book.arrived(order.id));
  assert.ok(book.arrived(wanted[1]!.id));
  assert.ok(!book.arrived("other-1"));
  assert.deepEqual([book.delivered, book.missing, book.repeated], [wanted.length - 1, 1, 1]);
});
