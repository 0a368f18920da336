// Encryption, credentials and ways to a real broker; what arrived is judged by the official Java client. One broker for
// all: tokens, passwords and client certificates, two listeners, tokens looked at every second.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { importScript } from "../../src/hooks/import.ts";
import { type AuthChoice, openAuth } from "../../src/pulsar/auth/open.ts";
import type { BuiltinSinkOptions } from "../../src/pulsar/builtin.ts";
import { openSecurity } from "../../src/pulsar/security.ts";
import { systemClock } from "../../src/runtime.ts";
import { RecordingLogger } from "../fakes.ts";
import { brokerMissing, startBroker, type TestBroker } from "../servers/broker.ts";
import { type CertificateAuthority, certificateAuthority } from "../servers/certificates.ts";
import { brokerToken } from "../servers/tokens.ts";
import { readTopic } from "../servers/topic-reader.ts";
import { type Forwarder, forwarder, pulsarProxy } from "./proxies.ts";
import { NEVER, newTopic, openSink, RecordingDelivery, sendTexts, texts, until } from "./sink-harness.ts";

const skip = brokerMissing() ?? false;
const PROVIDERS = ["Token", "Basic", "Tls"].map((name) =>
  `org.apache.pulsar.broker.authentication.AuthenticationProvider${name}`
);
const PASSWORD = "hush-hush";

interface Secured {
  readonly broker: Required<TestBroker>;
  readonly ca: CertificateAuthority;
  /** What the listener "gate" advertises. */
  readonly gate: Forwarder;
}

let starting: Promise<Secured> | undefined;
const atEnd: (() => unknown)[] = [];
after(async () => {
  for (const close of atEnd.toReversed()) await close();
});

/** The broker of this file. */
function secured(): Promise<Secured> {
  return starting ??= (async () => {
    const scope = { after: (close: () => unknown) => void atEnd.push(close) };
    const ca = certificateAuthority(scope);
    const passwords = join(ca.folder, "passwords");
    writeFileSync(
      passwords,
      `alice:${spawnSync("openssl", ["passwd", "-apr1", PASSWORD], { encoding: "utf8" }).stdout}`,
    );
    const [port, tlsPort] = [await freePort(), await freePort()];
    const gate = await forwarder(scope as TestContext, () => port);
    const broker = await startBroker({
      args: [
        ...["--auth-token", "--tls", "--port", `${port}`, "--tls-port", `${tlsPort}`],
        ...[
          `authenticationProviders=${PROVIDERS.join(",")}`,
          `basicAuthConf=file://${passwords}`,
          `tlsTrustCertsFilePath=${ca.caFile}`,
          "superUserRoles=admin,alice",
          "authenticationRefreshCheckSeconds=1",
          "internalListenerName=inside",
          `advertisedListeners=inside:pulsar://127.0.0.1:${port},inside:pulsar+ssl://localhost:${tlsPort},` +
          `gate:pulsar://127.0.0.1:${gate.port}`,
        ].flatMap((setting) => ["--set", setting]),
      ],
    });
    scope.after(() => broker.stop());
    return { broker: broker as Required<TestBroker>, ca, gate };
  })();
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function sinkWith(
  t: TestContext,
  serviceUrl: string,
  auth: AuthChoice,
  { tls, ...options }: Partial<BuiltinSinkOptions> = {},
) {
  const log = new RecordingLogger();
  const surroundings = { clock: systemClock, log, env: {}, importScript };
  return {
    log,
    ...openSink(t, serviceUrl, { ...await openSecurity({ auth, tls }, surroundings), ...options }),
  };
}

/** Publishes a few messages and has the Java client read them. */
async function publishes(
  t: TestContext,
  ...args: [string, AuthChoice, Partial<BuiltinSinkOptions>?]
): Promise<void> {
  const { broker } = await secured();
  const { sink, notes } = await sinkWith(t, ...args);
  const topic = newTopic();
  sendTexts(sink, new RecordingDelivery(), texts("m", 3), 0, topic);
  await until(() => sink.pending === 0 || notes.fatal.length > 0, "the receipts");
  assert.deepEqual(notes.fatal, []);
  await holds(broker, topic, texts("m", 3));
}

async function holds(
  broker: Required<TestBroker>,
  topic: string,
  expected: readonly string[],
): Promise<void> {
  const { serviceUrl, token } = broker;
  const read = await readTopic(topic, { serviceUrl, token, count: expected.length, timeoutMs: 60_000 });
  // Where a machine is so slow that an answer misses the broker's next look, a connection is made again: at least once.
  assert.deepEqual([...new Set(read.map(({ data }) => data?.toString()))], expected);
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "kinesis-pulsar-security-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("pulsar security: encrypted with a token, by name and by address", { skip }, async (t) => {
  const { broker: { serviceUrlTls, caFile, token } } = await secured();
  const tls = { caFile };
  await publishes(t, serviceUrlTls, { type: "token", token }, { tls });
  await publishes(t, serviceUrlTls.replace("localhost", "127.0.0.1"), { type: "token", token }, { tls });
});

test("pulsar security: a client's certificate, a password", { skip }, async (t) => {
  const { broker: { serviceUrl, serviceUrlTls, caFile }, ca } = await secured();
  await publishes(t, serviceUrlTls, { type: "tls", ...ca.issue({ name: "admin" }) }, { tls: { caFile } });
  await publishes(t, serviceUrl, { type: "basic", user: "alice", password: PASSWORD });
});

test(
  "pulsar security: each refusal ends the start with words of its own, and without the secret",
  { skip },
  async (t) => {
    const { broker, ca } = await secured();
    const { serviceUrl, serviceUrlTls, caFile, tokenSecretKeyFile: key } = broker;
    const expired = brokerToken(key, "admin", -3600);
    const foreign = `${brokerToken(key, "admin").slice(0, -4)}AAAA`;
    const cases: [string, AuthChoice, string | undefined, string, RegExp][] = [
      [
        serviceUrl,
        { type: "none" },
        undefined,
        "PULSAR_NOT_AUTHORIZED",
        /This connection gave none \(pulsar\.auth is not set\)/,
      ],
      [
        serviceUrl,
        { type: "token", token: foreign },
        undefined,
        "PULSAR_NOT_AUTHORIZED",
        /They came from pulsar\.auth\.token\./,
      ],
      [
        serviceUrl,
        { type: "token", token: expired },
        undefined,
        "PULSAR_NOT_AUTHORIZED",
        /The token of pulsar\.auth\.token expired on 20/,
      ],
      [
        serviceUrl,
        { type: "basic", user: "alice", password: "HUSH" },
        undefined,
        "PULSAR_NOT_AUTHORIZED",
        /They came from pulsar\.auth\.user and password/,
      ],
      [
        serviceUrl,
        { type: "token", token: broker.userToken },
        undefined,
        "PULSAR_NOT_AUTHORIZED",
        /AuthorizationError .*Grant the role 'produce'/,
      ],
      [
        serviceUrlTls,
        { type: "tls", ...certificateAuthority(t).issue({ name: "admin" }) },
        caFile,
        "PULSAR_",
        /certificate/,
      ],
      [serviceUrlTls, { type: "none" }, ca.caFile, "PULSAR_TLS", /is signed by nobody that is trusted here/],
      [
        serviceUrlTls.replace("+ssl", ""),
        { type: "none" },
        undefined,
        "PULSAR_UNREACHABLE",
        /then write pulsar\+ssl:\/\//,
      ],
      [
        serviceUrl.replace("pulsar:", "pulsar+ssl:"),
        { type: "none" },
        caFile,
        "PULSAR_UNREACHABLE",
        /a port without TLS/,
      ],
    ];
    for (const [url, auth, caFile, code, words] of cases) {
      const { sink } = await sinkWith(t, url, auth, { tls: { caFile } });
      const error = await sink.open(newTopic(), NEVER).then(
        () => assert.fail(`opened: ${words}`),
        (error) => error,
      );
      assert.ok(error.code.startsWith(code), `${error.code}: ${error.message}`);
      assert.match(error.message, words);
      assert.doesNotMatch(error.message, /HUSH|eyJ|AAAA/);
    }
  },
);

test("pulsar security: a token that ends is replaced by the one in the file now, and the stream goes on", {
  skip,
}, async (t) => {
  const { broker } = await secured();
  const file = join(folder(t), "token");
  const write = (seconds: number): void =>
    writeFileSync(file, brokerToken(broker.tokenSecretKeyFile, "admin", seconds));
  write(6);
  const { sink, notes } = await sinkWith(t, broker.serviceUrl, { type: "token", file });
  const topic = newTopic();
  const delivery = new RecordingDelivery();
  const sent: string[] = [];
  for (const end = performance.now() + 9_000; performance.now() < end;) {
    sendTexts(sink, delivery, [`m${sent.length}`], sent.length, topic);
    sent.push(`m${sent.length}`);
    if (sent.length === 10) write(3600);
    await systemClock.sleep(20);
  }
  await until(() => sink.pending === 0, "the receipts");
  assert.deepEqual([notes.fatal, delivery.acks.size], [[], sent.length]);
  await holds(broker, topic, sent);
});

test("pulsar security: a token that ends and is not replaced ends the connector with its source and time", {
  skip,
}, async (t) => {
  const { broker } = await secured();
  const file = join(folder(t), "token");
  writeFileSync(file, brokerToken(broker.tokenSecretKeyFile, "admin", 2));
  const { sink, notes } = await sinkWith(t, broker.serviceUrl, { type: "token", file }, {
    refusalPatienceMs: 300,
  });
  sendTexts(sink, new RecordingDelivery(), ["a"], 0, newTopic());
  await until(() => notes.fatal.length > 0, "the end");
  const [error] = notes.fatal;
  assert.deepEqual([error!.code, error!.retryable], ["PULSAR_NOT_AUTHORIZED", false]);
  assert.match(
    error!.message,
    /The token of pulsar\.auth\.file \(.*token\) expired on 20.*Z: give a new one\.$/,
  );
  assert.doesNotMatch(error!.message, /eyJ/);
});

test(
  "pulsar security: an OAuth2 issuer's tokens are renewed while the stream goes on, also while it is away",
  { skip },
  async (t) => {
    const { broker } = await secured();
    const keyFile = join(folder(t), "key.json");
    writeFileSync(keyFile, JSON.stringify({ client_id: "me", client_secret: "HUSH" }));
    let [tokens, failures] = [0, 0];
    const server = createHttpServer(async (request, response) => {
      const answer = (status: number, body: unknown): void => {
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      };
      const form = new URLSearchParams(await bodyOf(request));
      if (tokens === 1 && failures < 2) { // the first renewal fails twice
        failures++;
        return answer(503, {});
      }
      if (request.url === "/realm/.well-known/openid-configuration") {
        return answer(200, { token_endpoint: `http://${request.headers.host}/token` });
      }
      if (form.get("client_secret") !== "HUSH") return answer(401, { error: "invalid_client" });
      tokens++;
      answer(200, { access_token: brokerToken(broker.tokenSecretKeyFile, "admin", 4), expires_in: 4 });
    });
    t.after(() => server.close());
    const port = await new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
    });
    const auth: AuthChoice = { type: "oauth2", issuerUrl: `http://127.0.0.1:${port}/realm/`, keyFile };
    const { sink, notes } = await sinkWith(t, broker.serviceUrl, auth);
    const topic = newTopic();
    const delivery = new RecordingDelivery();
    const sent: string[] = [];
    for (const end = performance.now() + 9_000; performance.now() < end;) {
      sendTexts(sink, delivery, [`m${sent.length}`], sent.length, topic);
      sent.push(`m${sent.length}`);
      await systemClock.sleep(20);
    }
    await until(() => sink.pending === 0, "the receipts");
    assert.ok(tokens >= 2, `${tokens} tokens`);
    assert.deepEqual([failures, notes.fatal], [2, []]);
    await holds(broker, topic, sent);
    const wrong = await openAuth(
      { ...auth, keyFile: undefined, clientId: "me", clientSecret: "wrong" } as AuthChoice,
      {
        clock: systemClock,
        log: new RecordingLogger(),
        env: {},
        importScript,
      },
    );
    await assert.rejects(wrong.authData(), {
      code: "PULSAR_NOT_AUTHORIZED",
      message: /answers 401 \(invalid_client\)/,
    });
  },
);

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

test(
  "pulsar security: through a proxy, plain and encrypted, the broker behind it never dialled",
  { skip },
  async (t) => {
    const { broker: { serviceUrl, token }, ca } = await secured();
    const port = Number(new URL(serviceUrl).port);
    const files = ca.issue({ name: "proxy", alternativeNames: "DNS:localhost" });
    for (const proxy of [await pulsarProxy(t, port), await pulsarProxy(t, port, files)]) {
      await publishes(t, proxy.url, { type: "token", token }, { tls: { caFile: ca.caFile } });
      assert.deepEqual(proxy.proxied, [undefined, "hidden.invalid:6650"]);
    }
  },
);

test(
  "pulsar security: a listener is used when it is named; one that is not there is an error",
  { skip },
  async (t) => {
    const { broker: { serviceUrl, serviceUrlTls, caFile, token }, gate } = await secured();
    const auth: AuthChoice = { type: "token", token };
    // A standalone broker calls itself a proxy, so that the listener's address shows as the broker that is meant.
    const meant: string[] = [];
    const events = { fatal: () => {}, connected: (_: string, name: string) => void meant.push(name) };
    await publishes(t, serviceUrl, auth, { listenerName: "gate", events });
    assert.deepEqual(meant, [`127.0.0.1:${gate.port} via ${new URL(serviceUrl).host}`]);
    const opened = async (url: string, listenerName: string): Promise<unknown> => {
      const { sink } = await sinkWith(t, url, auth, { listenerName, tls: { caFile } });
      return await sink.open(newTopic(), NEVER);
    };
    await assert.rejects(opened(serviceUrl, "nowhere"), {
      code: "PULSAR_REFUSED",
      message: /^no broker advertises a listener "nowhere" .*: correct pulsar\.listenerName/,
    });
    await assert.rejects(opened(serviceUrlTls, "gate"), {
      code: "PULSAR_REFUSED",
      message: /has no TLS address: set brokerServicePortTls/,
    });
  },
);

test("pulsar security: a way that swallows everything is noticed by keepalive and left; nothing is lost", {
  skip,
}, async (t) => {
  const { broker, gate } = await secured();
  const { token } = broker;
  const { sink, notes } = await sinkWith(t, `pulsar://127.0.0.1:${gate.port}`, { type: "token", token }, {
    listenerName: "gate",
    keepAliveMs: 400,
  });
  const topic = newTopic();
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"], 0, topic);
  await until(() => sink.pending === 0, "the receipt");
  gate.silence();
  sendTexts(sink, delivery, texts("b", 5), 1, topic);
  await until(() => sink.pending === 0, "the receipts", 60_000);
  assert.ok(notes.reconnecting.some(({ error }) => /it did not answer for 400 ms/.test(error.message)));
  assert.deepEqual([delivery.acks.size, notes.fatal], [6, []]);
  await holds(broker, topic, ["a", ...texts("b", 5)]);
});

test("pulsar security: topics unloaded under load over TLS are found again", { skip }, async (t) => {
  const { broker } = await secured();
  const { serviceUrlTls, adminUrl, caFile, token } = broker;
  const { sink, notes } = await sinkWith(t, serviceUrlTls, { type: "token", token }, { tls: { caFile } });
  const topic = newTopic();
  const delivery = new RecordingDelivery();
  const unload = async (): Promise<void> => {
    const url = `${adminUrl}/admin/v2/persistent/public/default/${topic}/unload`;
    const response = await fetch(url, { method: "PUT", headers: { authorization: `Bearer ${token}` } });
    assert.equal(response.status, 204, await response.text());
  };
  const count = 3000;
  for (let ordinal = 0; ordinal < count; ordinal++) {
    const room = sink.reserve(1, NEVER);
    if (room !== true) await room;
    sink.send({ topic, data: Buffer.from(`m${ordinal}`) }, delivery, ordinal);
    if (ordinal % 1000 !== 500) continue;
    await until(() => delivery.acks.size > ordinal - 500, "receipts");
    await unload();
  }
  await until(() => sink.pending === 0, "the receipts", 60_000);
  assert.deepEqual([delivery.acks.size, notes.fatal], [count, []]);
  assert.ok(notes.reconnecting.length > 0);
  const { serviceUrl } = broker;
  const read = await readTopic(topic, { serviceUrl, token, count, timeoutMs: 60_000 });
  const firsts = [...new Set(read.map(({ data }) => data!.toString()))];
  assert.deepEqual(firsts, texts("m", count));
});
