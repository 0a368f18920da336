import { test } from "node:test";
import assert from "node:assert/strict";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import type { TestContext } from "node:test";
import type { BrokerFault } from "../../src/local/mod.ts";
import { assertWords, fastClock, faultWorld, soon, until } from "./kit.ts";

const SHARD = "shardId-000000000000";

/** Listens on a free port until the test ends; gives host:port. */
async function listen(t: TestContext, server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("faults pulsar: a broker that nobody can reach is tried for a minute, then the start fails with its address", async (t) => {
  const world = await faultWorld(t);
  await world.broker.close();
  world.put(3);
  const run = world.run({}, { clock: fastClock(60) });
  const address = world.broker.url.replace("pulsar://", "");
  assertWords(await run.failure(), {
    code: "PULSAR_UNREACHABLE",
    exit: 1,
    words: [
      /^gave up the start after 60 s and \d+ tries: /,
      `cannot connect to the broker ${address}`,
      "ECONNREFUSED",
      "Check pulsar.serviceUrl, and whether the broker runs",
    ],
  });
  const tries = run.log.messages("warn").filter((line) => line.includes("asking again in"));
  assert.ok(tries.length >= 10, `${tries.length} tries`);
  assert.deepEqual(run.started, [], "nothing is read before there is a broker");
  assert.equal(world.kinesis.calls("GetRecords").length, 0);
});

test("faults pulsar: a broker that comes up within the minute is used", async (t) => {
  const world = await faultWorld(t);
  await world.broker.close();
  world.put(3);
  const run = world.run({}, { clock: fastClock(10) });
  await until(() => run.log.messages("warn").some((line) => line.includes("asking again")), "a first try");
  await world.broker.reopen();
  await world.arrived(3);
  await run.stop();
});

const REFUSALS: readonly [
  string,
  BrokerFault,
  { code: "PULSAR_NOT_AUTHORIZED" | "PULSAR_TOPIC_NOT_FOUND"; words: string[] },
][] = [
  [
    "that does not accept us",
    { command: "CONNECT", error: "AuthenticationError", message: "no token given" },
    {
      code: "PULSAR_NOT_AUTHORIZED",
      words: ["answered AuthenticationError to CONNECT", "no token given", "Check [pulsar].auth"],
    },
  ],
  ["that does not let us produce", {
    command: "PRODUCER",
    error: "AuthorizationError",
    message: "role x may not",
  }, {
    code: "PULSAR_NOT_AUTHORIZED",
    words: [
      "answered AuthorizationError to PRODUCER for topic persistent://public/default/topic-",
      "role x may not",
      "grant-permission",
      "--actions produce",
    ],
  }],
  ["that has no such topic", { command: "LOOKUP", error: "TopicNotFound", message: "Topic not found" }, {
    code: "PULSAR_TOPIC_NOT_FOUND",
    words: [
      "answered TopicNotFound to LOOKUP for topic persistent://public/default/topic-",
      "Create the topic",
    ],
  }],
];
for (const [what, fault, { code, words }] of REFUSALS) {
  test(`faults pulsar: a broker ${what} ends the start at once, with what to do`, async (t) => {
    const world = await faultWorld(t);
    world.put(3);
    world.broker.inject({ ...fault, times: Infinity });
    const run = world.run();
    const address = world.broker.url.replace("pulsar://", "");
    assertWords(await run.failure(), { code, exit: 1, words: [`the broker ${address}`, ...words] });
    assert.equal(world.broker.calls(fault.command as "CONNECT"), 1, "a refusal is not asked for again");
    assert.equal(world.kinesis.calls("GetRecords").length, 0);
  });
}

test("faults pulsar: a port that speaks something else ends the start at once", async (t) => {
  const world = await faultWorld(t);
  const address = await listen(t, createServer((socket) => void socket.write("220 smtp ready\r\n")));
  assertWords(await world.run({ pulsar: { serviceUrl: `pulsar://${address}` } }).failure(), {
    code: "PULSAR_PROTOCOL",
    exit: 1,
    words: [`${address} is no Pulsar broker`, "6650 by default"],
  });
});

test("faults pulsar: an HTTP server in place of a broker ends the start and names the right port", async (t) => {
  const world = await faultWorld(t);
  const address = await listen(t, createHttpServer((_, answer) => void answer.end("hello")));
  assertWords(await world.run({ pulsar: { serviceUrl: `pulsar://${address}` } }).failure(), {
    code: "PULSAR_PROTOCOL",
    exit: 1,
    words: [`${address} is no Pulsar broker`, "is this the port of its binary protocol, 6650 by default?"],
  });
});

test("faults pulsar: a port that accepts and says nothing is given up after a minute", async (t) => {
  const world = await faultWorld(t);
  const address = await listen(t, createServer());
  const run = world.run({ pulsar: { serviceUrl: `pulsar://${address}` } }, { clock: fastClock(60) });
  assertWords(await run.failure(), {
    code: "PULSAR_UNREACHABLE",
    exit: 1,
    words: [
      `${address} accepted the connection, but did not answer CONNECT within 10000 ms`,
      "Check pulsar.serviceUrl",
    ],
  });
});

test("faults pulsar: a broker that is killed and comes back gets everything, in order", async (t) => {
  const world = await faultWorld(t);
  const run = world.run({ pulsar: { batchMaxMessages: 7 } });
  await soon(run.running, "the start");
  for (let round = 0; round < 3; round++) {
    world.put(50, `round ${round}`);
    await until(() => run.connector.status().records > round * 50, "records on their way");
    await world.broker.close();
    world.put(50, `down ${round}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await world.broker.reopen();
  }
  const expected = world.kinesis.records(world.streamName);
  await until(
    () => run.checkpoints.at(-1)?.sequenceNumber === expected.at(-1)!.sequenceNumber,
    "the last checkpoint",
  );
  const firsts = [...new Set(world.published())];
  assert.deepEqual(firsts, expected.map(({ data }) => new TextDecoder().decode(data)));
  const warnings = run.log.messages("warn").join("\n");
  assert.match(
    warnings,
    /topic persistent:\/\/public\/default\/topic-\w+: .*broker 127.0.0.1:\d+.*trying again in \d+ ms/,
  );
  assert.match(run.log.messages("info").join("\n"), /publishing to persistent:.* at 127.0.0.1:\d+/);
  await run.stop();
});

test("faults pulsar: garbage from a broker in the middle makes a new connection, and nothing is lost", async (t) => {
  const world = await faultWorld(t);
  const run = world.run();
  await soon(run.running, "the start");
  const garbage = world.broker.inject({ command: "SEND", garbage: true });
  world.put(20);
  const last = () => world.kinesis.records(world.streamName)[19]?.sequenceNumber;
  await until(() => run.checkpoints.at(-1)?.sequenceNumber === last(), "the checkpoint of the last record");
  assert.equal(garbage.hits, 1);
  assert.equal(new Set(world.published()).size, 20);
  assert.match(run.log.messages("warn").join("\n"), /lost the broker 127.0.0.1:\d+: .*trying again in/);
  await run.stop();
});

test("faults pulsar: a stop while the start waits for its broker ends it soon", async (t) => {
  const world = await faultWorld(t);
  await world.broker.close();
  const run = world.run();
  await until(() => run.log.messages("warn").some((line) => line.includes("asking again")), "a first try");
  await run.stop();
  await run.running; // a start that was stopped has not failed
});

test("faults pulsar: a broker that comes back and does not accept us any more is asked for a minute, then it stops", async (t) => {
  const world = await faultWorld(t);
  world.put(2);
  const run = world.run({ shutdownTimeoutMs: 500 }, { clock: fastClock(30) });
  await world.arrived(2);
  await until(() => run.checkpoints.length > 0, "a checkpoint");
  await world.broker.close();
  world.broker.inject({
    command: "CONNECT",
    times: Infinity,
    error: "AuthenticationError",
    message: "the token was revoked",
  });
  world.put(2, "later");
  await until(() => run.connector.status().records === 4, "records on their way");
  await world.broker.reopen();
  assertWords(await run.failure(), {
    code: "PULSAR_NOT_AUTHORIZED",
    exit: 1,
    words: ["answered AuthenticationError to CONNECT", "the token was revoked", "Check [pulsar].auth"],
  });
  const second = world.kinesis.records(world.streamName)[1]!.sequenceNumber;
  assert.equal(run.checkpoints.at(-1)?.sequenceNumber, second);
});

test("faults pulsar: a right to produce that is taken away is waited for, said, and used when it is back", async (t) => {
  const world = await faultWorld(t);
  world.put(2);
  const run = world.run();
  await world.arrived(2);
  await world.broker.close();
  world.broker.inject({
    command: "PRODUCER",
    times: 3,
    error: "AuthorizationError",
    message: "the right was revoked",
  });
  world.put(2, "later");
  await world.broker.reopen();
  await world.arrived(4);
  const warnings = run.log.messages("warn").join("\n");
  assert.match(warnings, /answered AuthorizationError to PRODUCER for topic .*: the right was revoked\./);
  assert.match(warnings, /--actions produce/);
  await run.stop();
});

const FOR_GOOD = [
  ["NotAllowedError", "PULSAR_REFUSED", "policies do not allow it", "Check the topic's policies"],
  ["TopicTerminatedError", "PULSAR_TOPIC_TERMINATED", "Topic was terminated", "choose another topic"],
] as const;
for (const [error, code, message, advice] of FOR_GOOD) {
  test(`faults pulsar: a message refused with ${error} stops it, and what is before it is checkpointed`, async (t) => {
    const world = await faultWorld(t);
    const run = world.run({
      checkpointInterval: 60_000,
      shutdownTimeoutMs: 500,
      pulsar: { batchMaxMessages: 1 },
    });
    await soon(run.running, "the start");
    world.broker.inject({ command: "SEND", nth: 4, times: Infinity, error, message });
    world.put(6);
    assertWords(await run.failure(), {
      code,
      exit: 1,
      words: [
        `stream ${world.streamName}, shard ${SHARD}: a message was refused for good`,
        `answered ${error} to SEND for topic ${world.topic}`,
        message,
        advice,
      ],
    });
    assert.deepEqual(world.published().slice(0, 3), ["record 0", "record 1", "record 2"]);
    const third = world.kinesis.records(world.streamName)[2]!.sequenceNumber;
    assert.deepEqual(
      run.checkpoints.map(({ sequenceNumber, records, reason }) => ({ sequenceNumber, records, reason })),
      [{ sequenceNumber: third, records: 3, reason: "stop" }],
    );
  });
}

test("faults pulsar: a message larger than the broker takes stops it with both sizes where chunks are off, the ones before are kept", async (t) => {
  const world = await faultWorld(t, { broker: { maxMessageSize: 10_000 } });
  const settings = { checkpointInterval: 60_000, shutdownTimeoutMs: 500, pulsar: { chunking: false } };
  const run = world.run(settings);
  await soon(run.running, "the start");
  world.put(2);
  world.kinesis.putRecord(world.streamName, { partitionKey: "key", data: new Uint8Array(20_000) });
  world.put(1, "behind");
  assertWords(await run.failure(), {
    code: "MESSAGE_TOO_LARGE",
    exit: 1,
    words: [
      `stream ${world.streamName}, shard ${SHARD}`,
      /a message of 20\d\d\d bytes \(metadata included\)/,
      `for topic ${world.topic} is larger than the broker's limit of 10000`,
      "raise maxMessageSize",
    ],
  });
  assert.deepEqual(world.published().slice(0, 2), ["record 0", "record 1"]);
  const second = world.kinesis.records(world.streamName)[1]!.sequenceNumber;
  assert.equal(run.checkpoints.at(-1)?.sequenceNumber, second);
});

test("faults pulsar: more busy topics than pulsar.maxProducers stop it and name the one too many", async (t) => {
  const world = await faultWorld(t);
  let count = 0;
  const run = world.run({
    checkpointInterval: 60_000,
    shutdownTimeoutMs: 500,
    pulsar: { maxProducers: 3 },
  }, {
    hooks: { onRecord: (record) => ({ ...record.message, topic: `many-${count++}` }) },
    clock: fastClock(60),
  });
  await soon(run.running, "the start");
  world.broker.inject({ command: "SEND", times: Infinity, delayMs: 60_000 });
  world.put(4);
  assertWords(await run.failure(), {
    code: "TOO_MANY_TOPICS",
    exit: 1,
    words: [
      `stream ${world.streamName}, shard ${SHARD}`,
      "persistent://public/default/many-3",
      "pulsar.maxProducers",
      "check whether a hook makes topic names without end",
    ],
  });
  assert.deepEqual(run.checkpoints, []);
});

test("faults pulsar: a hook's topic that cannot be is refused with its name", async (t) => {
  const world = await faultWorld(t);
  world.put(1);
  const run = world.run({ shutdownTimeoutMs: 500 }, {
    hooks: { onRecord: (record) => ({ ...record.message, topic: "kafka://a/b/c" }) },
  });
  assertWords(await run.failure(), {
    code: "PULSAR_REFUSED",
    exit: 1,
    words: [`stream ${world.streamName}, shard ${SHARD}`, "kafka://a/b/c"],
  });
  assert.deepEqual(run.checkpoints, []);
});
