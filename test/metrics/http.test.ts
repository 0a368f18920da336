import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import { type HttpOptions, type Observed, openHttpEndpoint } from "../../src/metrics/http.ts";
import { RecordingLogger } from "../fakes.ts";

const healthy: Observed = {
  streamName: "orders",
  metrics: () => [{ name: "lag_seconds", kind: "gauge", help: "", series: [{ labels: {}, value: 2 }] }],
  status: () => ({ state: "running" }),
  health: () => ({ live: { reasons: [] }, ready: { reasons: [] } }),
};

async function open(t: TestContext, observed: Partial<Observed> = {}, options: Partial<HttpOptions> = {}) {
  const log = new RecordingLogger();
  const endpoint = await openHttpEndpoint({ ...healthy, ...observed }, {
    host: "127.0.0.1",
    port: 0,
    log,
    ...options,
  });
  t.after(() => endpoint.close());
  const ask = async (path: string, method = "GET") => {
    const response = await fetch(`${endpoint.url}${path}`, { method });
    return { status: response.status, headers: response.headers, body: await response.text() };
  };
  return { endpoint, log, ask };
}

test("http: /metrics is Prometheus' text", async (t) => {
  const { ask } = await open(t);
  const { status, headers, body } = await ask("/metrics?x=1");
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert.equal(
    body,
    '# TYPE kinesis_pulsar_lag_seconds gauge\nkinesis_pulsar_lag_seconds{stream="orders"} 2\n',
  );
});

test("http: /livez, /readyz and /status answer as JSON, 503 with the reasons", async (t) => {
  const { ask } = await open(t, {
    health: () => ({ live: { reasons: [] }, ready: { reasons: ["Pulsar fails for 31 s: no broker"] } }),
  });
  const live = await ask("/livez");
  assert.deepEqual([live.status, JSON.parse(live.body)], [200, { ok: true }]);
  const ready = await ask("/readyz");
  assert.equal(ready.status, 503);
  assert.equal(ready.headers.get("content-type"), "application/json");
  assert.deepEqual(JSON.parse(ready.body), { ok: false, reasons: ["Pulsar fails for 31 s: no broker"] });
  assert.deepEqual(JSON.parse((await ask("/status")).body), { state: "running" });
});

test("http: only GET and HEAD, and only its four pages", async (t) => {
  const { ask } = await open(t);
  for (const method of ["POST", "PUT", "DELETE"]) {
    const { status, headers } = await ask("/metrics", method);
    assert.deepEqual([status, headers.get("allow")], [405, "GET, HEAD"], method);
  }
  const head = await ask("/status", "HEAD");
  assert.deepEqual([head.status, head.body], [200, ""]);
  assert.ok(Number(head.headers.get("content-length")) > 0);
  for (const path of ["/", "/metrics/", "/admin", "//metrics"]) {
    assert.equal((await ask(path)).status, 404, path);
  }
});

test("http: what fails while it answers is told and logged, and the next request is answered", async (t) => {
  let fails = true;
  const { ask, log } = await open(t, {
    status() {
      if (fails) throw new Error("a defect");
      return {};
    },
  });
  const { status, body } = await ask("/status");
  assert.deepEqual([status, body], [500, "internal error\n"]);
  assert.deepEqual(log.messages("error"), ["/status could not be answered: a defect"]);
  fails = false;
  assert.equal((await ask("/status")).status, 200);
});

test("http: a port that is taken is an error of the configuration that says what to do", async (t) => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  t.after(() => other.close());
  const { port } = other.address() as AddressInfo;
  await assert.rejects(open(t, {}, { port }), (error) => {
    assert.ok(error instanceof ConnectorError);
    assert.deepEqual([error.code, error.where.key], ["CONFIG_INVALID", "http.port"]);
    const start = `http: cannot listen on 127.0.0.1, port ${port}: another program listens there`;
    assert.equal(error.message, `${start}; give http.port another number, or 0 for any free one`);
    return true;
  });
});

test("http: an address that this machine does not have is refused by name", async (t) => {
  await assert.rejects(open(t, {}, { host: "192.0.2.1" }), {
    code: "CONFIG_INVALID",
    message: /^http: cannot listen on 192\.0\.2\.1, port 0: this machine has no such address/,
  });
});

test("http: who listens beyond this machine is warned that nobody is asked who they are", async (t) => {
  assert.deepEqual((await open(t)).log.messages("warn"), []);
  const { log } = await open(t, {}, { host: "0.0.0.0" });
  assert.match(
    log.messages("warn").join(),
    /^http\.host = "0\.0\.0\.0": everybody who reaches .* can read .*; there is no authentication$/,
  );
});

test("http: a close ends connections that are kept alive", async (t) => {
  const { endpoint, ask } = await open(t);
  await ask("/livez");
  await endpoint.close();
  await assert.rejects(ask("/livez"));
});
