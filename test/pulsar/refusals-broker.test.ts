// What a real broker refuses, now or for good, and what changes while the producer runs.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { SinkMessage } from "../../src/core/record.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { Delivery, MessageSink } from "../../src/pulsar/sink.ts";
import { systemClock } from "../../src/runtime.ts";
import { brokerMissing, pulsarBroker, startBroker } from "../servers/broker.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { readTopic } from "../servers/topic-reader.ts";
import { NEVER, newTopic, openSink, RecordingDelivery, sendTexts, texts, until } from "./sink-harness.ts";

const skip = brokerMissing() ?? false;

/** A clock on which a minute (of counting partitions anew) is 200 ms, all else as it is. */
const HASTY: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms >= 50_000 && ms <= 60_000 ? 200 : ms, signal),
};

function send(sink: MessageSink, delivery: Delivery, ordinal: number, message: SinkMessage): void {
  assert.equal(sink.reserve(1, NEVER), true);
  sink.send(message, delivery, ordinal);
}

test(
  "pulsar refusals: more partitions are used soon after they are there, and keys go where Java looks for them",
  {
    skip,
  },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const admin = pulsarAdmin();
    const topic = newTopic("grows");
    await admin.createPartitionedTopic(topic, 2);
    const { sink } = openSink(t, serviceUrl, { clock: HASTY });
    const delivery = new RecordingDelivery();
    const used = new Set<number>();
    let ordinal = 0;
    const sendRound = async (): Promise<void> => {
      for (let key = 0; key < 30; key++) {
        send(sink, delivery, ordinal++, { topic, key: `key${key}`, data: Buffer.from("x") });
      }
      await until(() => sink.pending === 0, "receipts", 60_000);
    };
    await sendRound();
    await admin.updatePartitions(topic, 5);
    for (let round = 0; round < 100 && used.size < 5; round++) {
      await sendRound();
      await systemClock.sleep(100);
      const there = await readTopic(topic, { count: ordinal, timeoutMs: 60_000 });
      for (const { partition } of there) used.add(partition);
    }
    assert.equal(used.size, 5);
    assert.equal(delivery.acks.size, ordinal);
  },
);

test(
  "pulsar refusals: a backlog quota is waited out and said, whether the broker holds or throws",
  { skip },
  async (t) => {
    // A quota is looked at every few seconds only on a broker that is told so.
    const broker = await startBroker({ args: ["--set", "backlogQuotaCheckIntervalInSeconds=1"] });
    t.after(() => broker.stop());
    const admin = pulsarAdmin(broker.adminUrl);
    for (const policy of ["producer_request_hold", "producer_exception"]) {
      const name = `public/${newTopic("quota")}`;
      const topic = `${name}/t`;
      await admin.call("PUT", `namespaces/${name}`);
      await admin.call("POST", `namespaces/${name}/backlogQuota?backlogQuotaType=destination_storage`, {
        limitSize: 10_000,
        policy,
      });
      await admin.createTopic(topic);
      const subscription = `${topic.replace(/^/, "persistent/")}/subscription/s`;
      await admin.call("PUT", subscription, {});
      const { sink, notes } = openSink(t, broker.serviceUrl, { backoff: { firstMs: 100, maxMs: 500 } });
      const delivery = new RecordingDelivery();
      let ordinal = 0;
      const isOver = (): boolean =>
        notes.reconnecting.some(({ error }) => error.code === "PULSAR_QUOTA_EXCEEDED");
      while (!isOver() && ordinal < 5000) {
        send(sink, delivery, ordinal++, { topic, data: Buffer.alloc(1000) });
        await systemClock.sleep(20);
      }
      assert.ok(isOver(), policy);
      const waiting = ordinal;
      for (; ordinal < waiting + 20; ordinal++) {
        send(sink, delivery, ordinal, {
          topic,
          data: Buffer.alloc(1000),
        });
      }
      await systemClock.sleep(1500);
      assert.ok(sink.pending >= 20, "they wait");
      const told = notes.reconnecting.filter(({ error }) => error.code === "PULSAR_QUOTA_EXCEEDED");
      assert.equal(told.length, 1, "said once, and then once a minute");
      assert.match(told[0]!.error.message, /Nothing is lost: messages wait until consumers catch up/);
      // Refused messages would be in here.
      assert.deepEqual([delivery.refusals, notes.fatal], [[], []]);
      await admin.call("POST", `${subscription}/skip_all`);
      await admin.call("DELETE", `namespaces/${name}/backlogQuota?backlogQuotaType=destination_storage`);
      await until(() => sink.pending === 0, "receipts", 60_000);
      assert.equal(delivery.acks.size, ordinal);
      await sink.close();
    }
  },
);

test("pulsar refusals: a topic with an enforced schema refuses messages of bytes, for good and in words", {
  skip,
}, async (t) => {
  const { serviceUrl } = await pulsarBroker();
  const admin = pulsarAdmin();
  const name = `public/${newTopic("schema")}`;
  await admin.call("PUT", `namespaces/${name}`);
  await admin.call("POST", `namespaces/${name}/schemaValidationEnforced`, true);
  await admin.createTopic(`${name}/t`);
  await admin.call("POST", `schemas/${name}/t/schema`, {
    type: "AVRO",
    schema: '{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}',
    properties: {},
  });
  const { sink, notes } = openSink(t, serviceUrl);
  const delivery = new RecordingDelivery();
  send(sink, delivery, 0, { topic: `${name}/t`, data: Buffer.from("x") });
  send(sink, delivery, 1, { topic: `${name}/plain`, data: Buffer.from("x") });
  await until(() => sink.pending === 0, "a refusal and a receipt", 60_000);
  assert.deepEqual(delivery.refusals.map(({ ordinal, error }) => [ordinal, error.code]), [[
    0,
    "PULSAR_REFUSED",
  ]]);
  assert.match(
    delivery.refusals[0]!.error.message,
    /IncompatibleSchema.*published as bytes: use another topic/,
  );
  assert.deepEqual([...delivery.acks.keys()], [1]);
  await assert.rejects(sink.open(`${name}/t`, NEVER), { code: "PULSAR_REFUSED" });
  assert.deepEqual(notes.fatal, []);
});

test(
  "pulsar refusals: a topic terminated under load refuses what it does not have, in order",
  { skip },
  async (t) => {
    const { serviceUrl } = await pulsarBroker();
    const topic = newTopic("terminated");
    const { sink, notes } = openSink(t, serviceUrl, { batchMaxMessages: 10 });
    const delivery = new RecordingDelivery();
    let ordinal = 0;
    const terminate = async (): Promise<void> => {
      await pulsarAdmin().terminate(topic);
      // With writes under way Pulsar 4.0.7 may leave it fenced, "temporarily unavailable", until it is unloaded.
      for (let looks = 1; delivery.refusals.length === 0 && looks <= 300; looks++) {
        await systemClock.sleep(100);
        if (looks % 30 === 0) await pulsarAdmin().unload(topic);
      }
    };
    let terminated: Promise<void> | undefined;
    while (delivery.refusals.length === 0 && ordinal < 100_000) {
      const room = sink.reserve(1, NEVER);
      if (room !== true) await room;
      sink.send({ topic, data: Buffer.from(`${ordinal}`) }, delivery, ordinal++);
      if (ordinal % 100 === 0) await systemClock.sleep(1);
      if (delivery.acks.size > 1000) terminated ??= terminate();
    }
    await terminated;
    await until(() => sink.pending === 0, "receipts and refusals", 60_000);
    const count = delivery.acks.size;
    assert.ok(delivery.refusals.length > 0);
    assert.deepEqual([...delivery.acks.keys()], Array.from({ length: count }, (_, at) => at));
    assert.deepEqual(
      delivery.refusals.map((refusal) => refusal.ordinal),
      Array.from({ length: ordinal - count }, (_, at) => count + at),
    );
    assert.ok(delivery.refusals.every(({ error }) => error.code === "PULSAR_TOPIC_TERMINATED"));
    assert.deepEqual(notes.fatal, []);
    await pulsarAdmin().unload(topic); // Pulsar 4.0.7 may leave it "temporarily unavailable", for readers too
    const there = await readTopic(topic, { count, timeoutMs: 60_000 });
    // What was on its way when the topic ended may be in it, without a receipt (as with Pulsar's own clients).
    assert.ok(there.length >= count);
    assert.deepEqual(there.map(({ data }) => data!.toString()), Array.from(there, (_, at) => `${at}`));
  },
);

test("pulsar refusals: a missing right refuses at the first opening; one taken away later is waited for", {
  skip,
}, async (t) => {
  const broker = await startBroker({ args: ["--auth-token"] });
  t.after(() => broker.stop());
  const { serviceUrl, adminUrl, token, userToken } = broker;
  const name = `public/${newTopic("rights")}`;
  const admin = async (method: string, path: string, body?: unknown): Promise<void> => {
    const response = await fetch(`${adminUrl}/admin/v2/${path}`, {
      method,
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    assert.ok(response.ok, `${path}: ${response.status} ${await response.text()}`);
  };
  await admin("PUT", `namespaces/${name}`);
  const topic = `${name}/t`;
  await admin("PUT", `persistent/${topic}`);
  const auth = {
    method: "token",
    source: "the test",
    authData: () => Promise.resolve(Buffer.from(userToken!)),
  };
  const { sink, notes } = openSink(t, serviceUrl, {
    auth,
    clock: HASTY,
    backoff: { firstMs: 50, maxMs: 500 },
  });
  await assert.rejects(sink.open(topic, NEVER), { code: "PULSAR_NOT_AUTHORIZED" });
  const delivery = new RecordingDelivery();
  sendTexts(sink, delivery, ["refused"], 0, topic);
  await until(() => sink.pending === 0, "the refusal", 60_000);
  assert.equal(delivery.refusals[0]!.error.code, "PULSAR_NOT_AUTHORIZED");
  await admin("POST", `namespaces/${name}/permissions/user`, ["produce"]);
  let ordinal = 1;
  while (delivery.acks.size === 0 && ordinal < 200) { // forgotten after a minute, which is short here
    sendTexts(sink, delivery, ["a"], ordinal++, topic);
    await until(() => sink.pending === 0, "an answer", 60_000);
    await systemClock.sleep(100);
  }
  const before = delivery.refusals.length;
  assert.equal(delivery.acks.size, 1);
  await admin("DELETE", `namespaces/${name}/permissions/user`);
  await admin("PUT", `persistent/${topic}/unload`);
  const isTold = (): boolean =>
    notes.reconnecting.some(({ error }) => error.code === "PULSAR_NOT_AUTHORIZED");
  await until(isTold, "it is told", 60_000);
  sendTexts(sink, delivery, texts("b", 10), ordinal, topic);
  await systemClock.sleep(1000);
  assert.deepEqual([sink.pending, delivery.refusals.length], [10, before]);
  await admin("POST", `namespaces/${name}/permissions/user`, ["produce"]);
  await until(() => sink.pending === 0, "receipts", 60_000);
  assert.equal(delivery.acks.size, 11);
  assert.deepEqual(notes.fatal, []);
});
