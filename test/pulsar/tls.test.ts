// Encrypted connections to brokers that we make here: whom the connector trusts, what it says when it does not, and
// that files are read anew.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { copyFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { BuiltinSinkOptions } from "../../src/pulsar/builtin.ts";
import { certificateAuthority } from "../servers/certificates.ts";
import { listeningBroker } from "./scripted-broker.ts";
import { NEVER, openSink, RecordingDelivery, sendTexts, until } from "./sink-harness.ts";

const LOCALHOST = "DNS:localhost,IP:127.0.0.1";

/** The error of one attempt to open a topic. */
async function refusal(
  t: TestContext,
  serviceUrl: string,
  options: Partial<BuiltinSinkOptions>,
): Promise<{ code: string; retryable: boolean; message: string; fatal: number }> {
  const { sink, notes } = openSink(t, serviceUrl, options);
  const error = await sink.open("t", NEVER).then(() => assert.fail("it opened"), (error) => error);
  return { code: error.code, retryable: error.retryable, message: error.message, fatal: notes.fatal.length };
}

test("pulsar tls: the name that is dialled is asked for and checked, an IP literal is checked only", async (t) => {
  const ca = certificateAuthority(t);
  const broker = await listeningBroker(t, ca.issue({ name: "broker", alternativeNames: LOCALHOST }));
  const tls = { caFile: ca.caFile };
  for (const url of [broker.url, broker.url.replace("localhost", "127.0.0.1")]) {
    const { sink, notes } = openSink(t, url, { tls });
    sendTexts(sink, new RecordingDelivery(), ["a"]);
    await until(() => sink.pending === 0 || notes.fatal.length > 0, "the receipt");
    assert.deepEqual([notes.fatal, notes.reconnecting, notes.connected.length], [[], [], 1]);
  }
  // The second client was sent on by its lookup to the name that the broker advertises.
  assert.deepEqual(broker.serverNames, ["localhost", undefined, "localhost"]);
});

test("pulsar tls: a certificate for another name is refused with its names, unless the name does not count", async (t) => {
  const ca = certificateAuthority(t);
  const broker = await listeningBroker(t, ca.issue({ name: "x", alternativeNames: "DNS:other.example" }));
  const error = await refusal(t, broker.url, { tls: { caFile: ca.caFile } });
  assert.deepEqual([error.code, error.retryable, error.fatal], ["PULSAR_TLS", false, 1]);
  assert.match(
    error.message,
    /^the certificate of localhost:\d+ was issued for other names \(DNS:other\.example\): use one of them in pulsar\.serviceUrl .* pulsar\.tls\.verifyHostname = false/,
  );
  const byAddress = await refusal(t, broker.url.replace("localhost", "127.0.0.1"), {
    tls: { caFile: ca.caFile },
  });
  assert.match(byAddress.message, /was issued for other names/);
  const { sink } = openSink(t, broker.url, { tls: { caFile: ca.caFile, verifyHostname: false } });
  await sink.open("t", NEVER);
});

test("pulsar tls: without check of the name the chain is checked all the same", async (t) => {
  const ca = certificateAuthority(t);
  const broker = await listeningBroker(t, ca.issue({ name: "x", alternativeNames: LOCALHOST }));
  for (const tls of [{ verifyHostname: false }, {}, { caFile: certificateAuthority(t).caFile }]) {
    const error = await refusal(t, broker.url, { tls });
    assert.deepEqual([error.code, error.retryable, error.fatal], ["PULSAR_TLS", false, 1]);
    assert.match(
      error.message,
      /is signed by nobody that is trusted here: .* as pulsar\.tls\.caFile \([A-Z_]+\)$/,
    );
  }
  const expired = await listeningBroker(t, ca.issue({ name: "x", alternativeNames: LOCALHOST, days: -1 }));
  const error = await refusal(t, expired.url, { tls: { caFile: ca.caFile, verifyHostname: false } });
  assert.deepEqual([error.code, error.retryable], ["PULSAR_TLS", false]);
  assert.match(
    error.message,
    /^the certificate of localhost:\d+ \(or its authority's\) has expired: renew it/,
  );
});

test("pulsar tls: once a broker was reached, a certificate that went bad is waited out and said", async (t) => {
  const ca = certificateAuthority(t);
  const good = await listeningBroker(t, ca.issue({ name: "x", alternativeNames: LOCALHOST }));
  const expired = await listeningBroker(t, ca.issue({ name: "x", alternativeNames: LOCALHOST, days: -1 }));
  const { sink, notes } = openSink(t, good.url, { tls: { caFile: ca.caFile } });
  const delivery = new RecordingDelivery();
  let isBad = false;
  good.script.LOOKUP = ({ requestId }, { reply }, usual) => {
    if (!isBad) return usual();
    reply("LOOKUP_RESPONSE", { requestId, response: 1, brokerServiceUrlTls: expired.url });
  };
  sendTexts(sink, delivery, ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  isBad = true;
  good.connections[0]!.cut();
  sendTexts(sink, delivery, ["b"], 1);
  await until(() => notes.reconnecting.some(({ error }) => error.code === "PULSAR_TLS"), "the complaint");
  isBad = false;
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual([notes.fatal, delivery.refusals], [[], []]);
});

test("pulsar tls: a broker demands a client's certificate, and gets the one that is in the files now", async (t) => {
  const ca = certificateAuthority(t);
  const server = ca.issue({ name: "broker", alternativeNames: LOCALHOST });
  const broker = await listeningBroker(t, { ...server, clientCaFile: ca.caFile });
  const bare = await refusal(t, broker.url, { tls: { caFile: ca.caFile } });
  assert.deepEqual([bare.code, bare.retryable, bare.fatal], ["PULSAR_TLS", false, 1]);
  assert.match(bare.message, /demands a client's certificate: give pulsar\.tls\.certFile and keyFile/);
  const stranger = certificateAuthority(t).issue({ name: "stranger" });
  const [certFile, keyFile] = [join(ca.folder, "client.crt"), join(ca.folder, "client.key")];
  const use = (files: { certFile: string; keyFile: string }): void => {
    copyFileSync(files.certFile, certFile);
    copyFileSync(files.keyFile, keyFile);
  };
  use(ca.issue({ name: "one" }));
  const { sink, notes } = openSink(t, broker.url, { tls: { caFile: ca.caFile, certFile, keyFile } });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  use(stranger);
  broker.connections.at(-1)!.cut();
  sendTexts(sink, delivery, ["b"], 1);
  await until(() => notes.reconnecting.length > 0, "the refusal");
  use(ca.issue({ name: "two" }));
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual([notes.fatal, delivery.refusals], [[], []]);
});

test("pulsar tls: what is wrong with a file is said at once, with its name and key", async (t) => {
  const ca = certificateAuthority(t);
  const broker = await listeningBroker(t, ca.issue({ name: "broker", alternativeNames: LOCALHOST }));
  const [one, two] = [ca.issue({ name: "one" }), ca.issue({ name: "two" })];
  const expired = ca.issue({ name: "old", days: -1 });
  const text = join(ca.folder, "text");
  writeFileSync(text, "HUSH, this is no PEM");
  const damaged = join(ca.folder, "damaged");
  writeFileSync(damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const locked = join(ca.folder, "locked");
  writeFileSync(locked, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
  const { caFile } = ca;
  const faults: [BuiltinSinkOptions["tls"], RegExp][] = [
    [{ caFile: join(ca.folder, "gone") }, /gone \(pulsar\.tls\.caFile\) is not there$/],
    [{ caFile: ca.folder }, /\(pulsar\.tls\.caFile\) cannot be read \(EISDIR\)$/],
    [{ caFile: text }, /text \(pulsar\.tls\.caFile\) holds no certificate/],
    [{ caFile: damaged }, /damaged \(pulsar\.tls\.caFile\) holds a certificate that cannot be read/],
    [{ caFile, ...one, certFile: text }, /\(pulsar\.tls\.certFile\) holds no certificate/],
    [{ caFile, ...one, keyFile: text }, /\(pulsar\.tls\.keyFile\) holds no private key/],
    [{ caFile, ...one, keyFile: locked }, /\(pulsar\.tls\.keyFile\) is encrypted with a passphrase/],
    [
      { caFile, ...one, keyFile: two.keyFile },
      /\(pulsar\.tls\.keyFile\) is not the key of the certificate in/,
    ],
    [{ caFile, ...expired }, /\(pulsar\.tls\.certFile\) holds a certificate that expired on 20/],
    [{ caFile, ...one, certFile: "/gone", clientTable: "pulsar.auth" }, /\/gone \(pulsar\.auth\.certFile\)/],
  ];
  for (const [tls, words] of faults) {
    const error = await refusal(t, broker.url, { tls });
    assert.deepEqual([error.code, error.retryable, error.fatal], ["CONFIG_INVALID", false, 1], error.message);
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /HUSH|AAAA/);
  }
});

test("pulsar tls: a plain port spoken to with TLS, and an encrypted one spoken to in the clear, are named", async (t) => {
  const ca = certificateAuthority(t);
  // A broker closes without a word, in either direction: it may as well be starting.
  let says = Buffer.of();
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", () => socket.end(says));
  });
  t.after(() => server.close());
  const port = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
  const silent = await refusal(t, `pulsar+ssl://127.0.0.1:${port}`, { tls: { caFile: ca.caFile } });
  assert.deepEqual([silent.code, silent.retryable], ["PULSAR_UNREACHABLE", true]);
  assert.match(
    silent.message,
    /closed the connection during the TLS handshake: is it starting, or .* without TLS/,
  );
  const plain = await refusal(t, `pulsar://127.0.0.1:${port}`, {});
  assert.deepEqual([plain.code, plain.retryable], ["PULSAR_UNREACHABLE", true]);
  assert.match(
    plain.message,
    /closed the connection without an answer to CONNECT: .*then write pulsar\+ssl:\/\//,
  );
  says = Buffer.from([21, 3, 3, 0, 2, 2, 50]); // an alert of TLS, as most servers answer what is none
  const inTheClear = await refusal(t, `pulsar://127.0.0.1:${port}`, {});
  assert.deepEqual([inTheClear.code, inTheClear.retryable, inTheClear.fatal], ["PULSAR_TLS", false, 1]);
  assert.match(inTheClear.message, /^127\.0\.0\.1:\d+ speaks TLS on this port: write pulsar\+ssl:\/\//);
  says = Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n");
  const http = await refusal(t, `pulsar+ssl://127.0.0.1:${port}`, { tls: { caFile: ca.caFile } });
  assert.deepEqual([http.code, http.retryable, http.fatal], ["PULSAR_TLS", false, 1]);
  assert.match(http.message, /does not speak TLS on this port: use its TLS port/);
});

test("pulsar tls: what a broker names is reached with TLS too: lookup, assigned broker, migration; never without", async (t) => {
  const ca = certificateAuthority(t);
  const files = ca.issue({ name: "broker", alternativeNames: LOCALHOST });
  const [one, two, three] = [
    await listeningBroker(t, files),
    await listeningBroker(t, files),
    await listeningBroker(t, files),
  ];
  const { sink, notes } = openSink(t, one.url, { tls: { caFile: ca.caFile } });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["a"]);
  await until(() => sink.pending === 0, "the receipt");
  const { producerId } = one.got("PRODUCER")[0]!;
  one.connections[0]!.reply("CLOSE_PRODUCER", {
    producerId,
    requestId: 1,
    assignedBrokerServiceUrl: "pulsar://127.0.0.1:1",
    assignedBrokerServiceUrlTls: two.url,
  });
  sendTexts(sink, delivery, ["b"], 1);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual([two.texts, two.got("LOOKUP").length], [["b"], 0]);
  two.connections[0]!.reply("TOPIC_MIGRATED", {
    resourceId: producerId,
    resourceType: 0,
    brokerServiceUrl: "pulsar://127.0.0.1:1",
    brokerServiceUrlTls: three.url,
  });
  two.connections[0]!.reply("CLOSE_PRODUCER", { producerId, requestId: 2 });
  sendTexts(sink, delivery, ["c"], 2);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(three.texts, ["c"]);
  assert.equal(notes.fatal.length, 0);
  // An address that only claims to be plain is dialled with TLS.
  three.script.LOOKUP = ({ requestId }, { reply }) =>
    reply("LOOKUP_RESPONSE", { requestId, response: 1, brokerServiceUrlTls: three.url.replace("+ssl", "") });
  three.connections[0]!.cut();
  sendTexts(sink, delivery, ["d"], 3);
  await until(() => sink.pending === 0, "the receipt");
  assert.deepEqual(three.texts, ["c", "d"]);
});

test("pulsar tls: a broker without an encrypted address is an error that names the setting", async (t) => {
  const ca = certificateAuthority(t);
  const broker = await listeningBroker(t, ca.issue({ name: "broker", alternativeNames: LOCALHOST }));
  broker.script.LOOKUP = ({ requestId }, { reply }) =>
    reply("LOOKUP_RESPONSE", { requestId, response: 1, brokerServiceUrl: "pulsar://127.0.0.1:6650" });
  const error = await refusal(t, broker.url, { tls: { caFile: ca.caFile } });
  assert.deepEqual([error.code, error.retryable], ["PULSAR_REFUSED", false]);
  assert.match(error.message, /has no TLS address: set brokerServicePortTls/);
});
