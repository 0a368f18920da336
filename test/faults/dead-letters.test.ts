// Dead letters where brokers are slow, refuse single messages, or have no room for more topics.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fastClock, faultWorld, soon, until, type World } from "./kit.ts";

const DEAD = "persistent://public/default/dead";

const deadLetters = (world: World) =>
  world.broker.messages(DEAD).map(({ data, properties }) => ({
    text: new TextDecoder().decode(data),
    number: BigInt(properties["kinesis.sequence.number"]!),
    code: properties["failure.code"],
    topic: properties["failure.topic"],
  }));

test("faults dead letters: while their topic is slow and cuts connections, no checkpoint passes one that is not stored", async (t) => {
  const world = await faultWorld(t);
  const run = world.run({ deadLetter: { topic: DEAD }, checkpointInterval: 20 }, {
    hooks: {
      onRecord(record) {
        if (record.text().endsWith("3")) throw new Error("no such country");
      },
    },
  });
  await soon(run.running, "the start");
  world.broker.inject({ command: "SEND", topic: DEAD, times: 8, delayMs: 60 });
  world.broker.inject({ command: "SEND", topic: DEAD, nth: 5, times: 2, drop: true });
  const failing: bigint[] = [];
  let checked = 0;
  run.connector.on("checkpoint", ({ sequenceNumber }) => {
    const stored = new Set(deadLetters(world).map(({ number }) => number));
    for (const number of failing) {
      if (number <= BigInt(sequenceNumber)) assert.ok(stored.has(number), `${number} is not stored`);
    }
    checked++;
  });
  for (let round = 0; round < 10; round++) {
    world.put(10);
    const records = world.kinesis.records(world.streamName);
    failing.push(BigInt(records[10 * round + 3]!.sequenceNumber));
    await until(() => run.connector.status().records === records.length, "the round");
  }
  await until(() => run.connector.status().deadLettered === 10, "all dead letters");
  await run.stop();
  assert.ok(checked > 1);
  const letters = deadLetters(world);
  assert.deepEqual([...new Set(letters.map(({ number }) => number))], failing, "in order, none missing");
  assert.equal(new Set(world.published()).size, 9);
});

test("faults dead letters: a message that a broker does not allow becomes one, the others go on", async (t) => {
  const world = await faultWorld(t);
  const run = world.run({ deadLetter: { topic: DEAD }, pulsar: { batchMaxMessages: 1 } });
  await soon(run.running, "the start");
  world.broker.inject({
    command: "SEND",
    topic: world.topic,
    nth: 2,
    error: "NotAllowedError",
    message: "policies do not allow it",
  });
  world.put(4);
  await world.arrived(3);
  await until(() => run.connector.status().deadLettered === 1, "the dead letter");
  await run.stop();
  assert.deepEqual(world.published(), ["record 0", "record 2", "record 3"]);
  const [letter] = deadLetters(world);
  assert.deepEqual([letter!.text, letter!.code, letter!.topic], ["record 1", "PULSAR_REFUSED", world.topic]);
});

test("faults dead letters: a topic that finds no room becomes one; their own topic has room", async (t) => {
  const world = await faultWorld(t);
  const run = world.run({
    deadLetter: { topic: DEAD },
    shutdownTimeoutMs: 60_000,
    pulsar: { maxProducers: 2 },
  }, {
    clock: fastClock(60),
    hooks: { onRecord: (record) => ({ ...record.message, topic: record.text().split(" ")[0] }) },
  });
  await soon(run.running, "the start");
  // Two topics keep their producers busy for ever.
  for (const topic of ["slow-a", "slow-b"]) {
    world.broker.inject({ command: "SEND", topic, times: Infinity, hang: true });
  }
  world.put(1, "slow-a");
  world.put(1, "slow-b");
  await until(() => run.connector.status().pendingMessages === 2, "two busy topics");
  world.put(1, "third");
  await until(() => run.connector.status().deadLettered === 1, "the dead letter");
  const [letter] = deadLetters(world);
  assert.deepEqual([letter!.text, letter!.code], ["third 0", "TOO_MANY_TOPICS"]);
  assert.equal(letter!.topic, "persistent://public/default/third");
  assert.equal((await soon(run.connector.stop(), "the stop")).undrained.length, 1);
});
