import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test, type TestContext } from "node:test";
import { type LocalBroker, type LocalBrokerOptions, startLocalBroker } from "../../src/local/mod.ts";
import { withRequestId } from "../../src/local/broker/request-id.ts";
import { LOOKUP_CONNECT } from "../../src/pulsar/wire/commands.ts";
import { encodeCommand } from "../../src/pulsar/wire/frames.ts";
import { serverErrorName } from "../../src/pulsar/wire/server-error.ts";
import { type RawClient, rawClient, rawConnection, sendFrame } from "./raw-client.ts";

async function setUp(t: TestContext, options: LocalBrokerOptions = {}): Promise<[LocalBroker, RawClient]> {
  const broker = await startLocalBroker(options);
  t.after(() => broker.close());
  const client = await rawClient(broker.url);
  t.after(() => client.close());
  return [broker, client];
}

test("local broker: tells its limit, its address and the partitions that were set", async (t) => {
  const broker = await startLocalBroker({ partitions: { many: 3 }, maxMessageSize: 1000 });
  t.after(() => broker.close());
  const client = rawConnection(broker.url);
  t.after(() => client.close());
  client.send("CONNECT", { clientVersion: "raw", protocolVersion: 21 });
  const connected = await client.expect("CONNECTED");
  assert.equal(connected.maxMessageSize, 1000);
  assert.equal(connected.protocolVersion, 20);
  client.send("LOOKUP", { topic: "persistent://public/default/one", requestId: 7 });
  const lookup = await client.expect("LOOKUP_RESPONSE");
  assert.deepEqual([lookup.requestId, lookup.response, lookup.brokerServiceUrl], [
    7,
    LOOKUP_CONNECT,
    broker.url,
  ]);
  const partitions = async (topic: string) => {
    client.send("PARTITIONED_METADATA", { topic, requestId: 8 });
    return (await client.expect("PARTITIONED_METADATA_RESPONSE")).partitions;
  };
  assert.equal(await partitions("persistent://public/default/many"), 3);
  assert.equal(await partitions("persistent://public/default/one"), 0);
  broker.setPartitions("one", 2);
  assert.equal(await partitions("persistent://public/default/one"), 2);
  assert.throws(() => broker.setPartitions("one", -1), /topic one cannot have -1 partitions/);
  client.send("PING", {});
  await client.expect("PONG");
});

test("local broker: answers with the request's id, also above 2^53 as Java's are", async (t) => {
  const [broker, client] = await setUp(t);
  const id = Buffer.from("d2e1f0a9b8c79613", "hex"); // a varint of 56 bits, no double has its value
  const lookup = withRequestId(encodeCommand("LOOKUP", { topic: "a", requestId: 1 }), id);
  client.write(lookup);
  await client.expect("LOOKUP_RESPONSE");
  assert.ok(client.received.includes(id));
  broker.inject({ command: "LOOKUP", error: "ServiceNotReady" });
  client.write(lookup);
  await client.expect("LOOKUP_RESPONSE");
  assert.equal(client.received.toString("latin1").split(id.toString("latin1")).length - 1, 2);
});

test("local broker: closes a connection that does not begin with CONNECT or sends no frames", async (t) => {
  const broker = await startLocalBroker();
  t.after(() => broker.close());
  for (const bytes of [sendFrame(0, ["a"]), Buffer.from("GET / HTTP/1.1\r\n\r\n")]) {
    const client = rawConnection(broker.url);
    t.after(() => client.close());
    client.write(bytes);
    assert.equal(await client.next(), undefined);
  }
});

test("local broker: stores single messages and batches in order and receipts each", async (t) => {
  const [broker, client] = await setUp(t);
  const producer = await client.producer("persistent://public/default/a");
  assert.deepEqual([producer.producerName, producer.lastSequenceId], ["local-0", -1]);
  client.write(Buffer.concat([sendFrame(0, ["one"]), sendFrame(1, ["two", "three", "four"])]));
  const [first, second] = [await client.expect("SEND_RECEIPT"), await client.expect("SEND_RECEIPT")];
  assert.deepEqual([first.sequenceId, first.messageId?.entryId], [0, 0]);
  assert.deepEqual([second.sequenceId, second.highestSequenceId, second.messageId?.entryId], [1, 3, 1]);
  assert.deepEqual(broker.topics(), ["persistent://public/default/a"]);
  const messages = broker.messages("a");
  assert.deepEqual(
    messages.map((one) => [String(one.data), one.key, one.sequenceId, one.entryId, one.batchIndex]),
    [["one", "k0", 0, 0, -1], ["two", "k1", 1, 1, 0], ["three", "k2", 2, 1, 1], ["four", "k3", 3, 1, 2]],
  );
  assert.equal(messages[0]?.publishTime, 1_700_000_000_000);
  assert.equal(broker.calls("SEND"), 2);
  assert.deepEqual(broker.stats("a").producers, ["local-0"]);
  client.send("CLOSE_PRODUCER", { producerId: 1, requestId: 5 });
  assert.equal((await client.expect("SUCCESS")).requestId, 5);
  assert.deepEqual(broker.stats("a").producers, []);
  assert.throws(() => broker.messages("never-used"), /no topic persistent:\/\/public\/default\/never-used/);
});

test("local broker: refuses damaged and too large entries by SEND_ERROR and goes on", async (t) => {
  const [broker, client] = await setUp(t, { maxMessageSize: 500 });
  await client.producer("a");
  const damaged = sendFrame(4, ["x", "y"]);
  damaged[damaged.length - 1]! ^= 1;
  client.write(damaged);
  client.write(sendFrame(6, ["z".repeat(600)]));
  client.write(sendFrame(7, ["fine"]));
  const errors = [await client.expect("SEND_ERROR"), await client.expect("SEND_ERROR")];
  assert.deepEqual(errors.map((one) => [one.sequenceId, serverErrorName(one.error)]), [
    [5, "ChecksumError"],
    [6, "NotAllowedError"],
  ]);
  assert.equal((await client.expect("SEND_RECEIPT")).sequenceId, 7);
  assert.deepEqual(broker.messages("a").map((one) => String(one.data)), ["fine"]);
});

test("local broker: one producer per name, replaced only by its successor or after it has gone", async (t) => {
  const [broker, client] = await setUp(t);
  await client.producer("a", 1, "p");
  const other = await rawClient(broker.url);
  t.after(() => other.close());
  const again = { topic: "a", producerId: 1, requestId: 9, producerName: "p", epoch: 1 };
  other.send("PRODUCER", again);
  assert.equal(serverErrorName((await other.expect("ERROR")).error), "ProducerBusy");
  client.send("PRODUCER", again);
  await client.expect("PRODUCER_SUCCESS");
  client.send("PRODUCER", { ...again, producerId: 2 });
  assert.equal(serverErrorName((await client.expect("ERROR")).error), "ProducerBusy");
  client.close();
  while (broker.connections > 1) await new Promise((resolve) => setTimeout(resolve, 1));
  other.send("PRODUCER", again);
  await other.expect("PRODUCER_SUCCESS");
});

test("local broker: with deduplication a repeated sequence id is receipted as duplicate, not stored", async (t) => {
  const [broker, client] = await setUp(t, { deduplication: true });
  assert.equal((await client.producer("a", 1, "p")).lastSequenceId, -1);
  client.write(Buffer.concat([sendFrame(5, ["a", "b"]), sendFrame(6, ["b", "c"]), sendFrame(7, ["c"])]));
  const receipts = [];
  for (let i = 0; i < 3; i++) receipts.push((await client.expect("SEND_RECEIPT")).messageId?.ledgerId);
  assert.deepEqual(receipts, [1, -1, 1]);
  assert.deepEqual(broker.messages("a").map((one) => String(one.data)), ["a", "b", "c"]);
  client.send("CLOSE_PRODUCER", { producerId: 1, requestId: 5 });
  await client.expect("SUCCESS");
  assert.equal((await client.producer("a", 2, "p")).lastSequenceId, 7);
});

test("local broker: a terminated topic refuses messages and producers", async (t) => {
  const [broker, client] = await setUp(t);
  await client.producer("a");
  broker.terminate("a");
  client.write(sendFrame(0, ["x"]));
  assert.equal(serverErrorName((await client.expect("SEND_ERROR")).error), "TopicTerminatedError");
  client.send("PRODUCER", { topic: "a", producerId: 2, requestId: 1 });
  assert.equal(serverErrorName((await client.expect("ERROR")).error), "TopicTerminatedError");
});

test("local broker: gives a reader no more than it asked for, from where it asked", async (t) => {
  const [, client] = await setUp(t);
  await client.producer("a");
  for (let i = 0; i < 5; i++) {
    client.write(sendFrame(i, [`m${i}`]));
    await client.expect("SEND_RECEIPT");
  }
  client.send("SUBSCRIBE", {
    topic: "a",
    subscription: "s",
    subType: 0,
    consumerId: 3,
    requestId: 1,
    durable: false,
    startMessageId: { ledgerId: 1, entryId: 1 },
  });
  await client.expect("SUCCESS");
  client.send("FLOW", { consumerId: 3, messagePermits: 2 });
  const ids = [await client.expect("MESSAGE"), await client.expect("MESSAGE")].map((one) =>
    one.messageId.entryId
  );
  assert.deepEqual(ids, [2, 3]);
  client.send("GET_LAST_MESSAGE_ID", { consumerId: 3, requestId: 2 });
  assert.equal((await client.expect("GET_LAST_MESSAGE_ID_RESPONSE")).lastMessageId.entryId, 4);
  client.send("SEEK", { consumerId: 3, requestId: 4, messageId: { ledgerId: 1, entryId: 0 } });
  await client.expect("CLOSE_CONSUMER");
  await client.expect("SUCCESS");
});

test("local broker: a durable subscription goes on behind what was acknowledged", async (t) => {
  const [broker, client] = await setUp(t);
  await client.producer("a");
  for (let i = 0; i < 4; i++) {
    client.write(sendFrame(i, [`m${i}`]));
    await client.expect("SEND_RECEIPT");
  }
  const subscribe = async (consumerId: number) => {
    const fields = { topic: "a", subscription: "s", subType: 0, initialPosition: 1 };
    client.send("SUBSCRIBE", { ...fields, consumerId, requestId: 1 });
    const answer = await client.next();
    if (answer?.name !== "SUCCESS") return answer;
    client.send("FLOW", { consumerId, messagePermits: 1 });
    return await client.next();
  };
  const first = await subscribe(1);
  assert.equal(first?.name === "MESSAGE" && first.messageId.entryId, 0);
  const second = await subscribe(2);
  assert.equal(second?.name === "ERROR" && serverErrorName(second.error), "ConsumerBusy");
  for (const entryId of [2, 0]) {
    client.send("ACK", { consumerId: 1, ackType: 0, messageId: [{ ledgerId: 1, entryId }], requestId: 9 });
    assert.equal((await client.expect("ACK_RESPONSE")).requestId, 9);
  }
  client.send("CLOSE_CONSUMER", { consumerId: 1, requestId: 3 });
  await client.expect("SUCCESS");
  const third = await subscribe(3);
  assert.equal(third?.name === "MESSAGE" && third.messageId.entryId, 1);
  assert.equal(broker.stats("a").consumers, 1);
});
