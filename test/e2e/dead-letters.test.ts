// Dead letters on the whole road, as the Java client reads them: records that hooks fail on, messages that a real broker
// refuses for good, exit codes, and kills in between.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { StoredRecord } from "../../src/local/mod.ts";
import { encodeAggregate } from "../core/aggregate.ts";
import { pulsarAdmin } from "../servers/admin.ts";
import { brokerMissing } from "../servers/broker.ts";
import { readTopic, type TopicMessage } from "../servers/topic-reader.ts";
import { javaInstant } from "./judge.ts";
import { ended, eventually, layRoad, randomName, received, type Road, stopped } from "./kit.ts";

const skip = brokerMissing() ?? false;

const deadTopic = (road: Road): string => `${road.topic}-dead`;

/** A dead letter's properties, those of the failure apart. */
function sorted(message: TopicMessage): { record: Record<string, string>; failure: Record<string, string> } {
  const entries = Object.entries(message.properties);
  return {
    record: Object.fromEntries(entries.filter(([name]) => name.startsWith("kinesis."))),
    failure: Object.fromEntries(entries.filter(([name]) => name.startsWith("failure."))),
  };
}

function recordProperties(road: Road, stored: StoredRecord, subSequenceNumber = 0, partitionKey?: string) {
  return {
    "kinesis.stream.name": road.streamName,
    "kinesis.shard.id": stored.shardId,
    "kinesis.sequence.number": stored.sequenceNumber,
    "kinesis.subsequence.number": String(subSequenceNumber),
    "kinesis.partition.key": partitionKey ?? stored.partitionKey,
    "kinesis.arrival.timestamp": javaInstant(stored.approximateArrivalTimestamp),
    "kinesis.encryption.type": stored.encryptionType,
  };
}

// Bytes decide: the first says what becomes of the record.
const [FINE, THROWS, HANGS, LIES] = [1, 2, 3, 4];

test("e2e dead letters: records that a hook in the middle fails on, whole and by their bytes; exit code 3", {
  skip,
}, async (t) => {
  const road = await layRoad(t, { shards: 1 });
  await road.script(
    "first.mts",
    "export const onRecord = (record) => ({ ...record.message, key: 'changed' });\n",
  );
  await road.script(
    "picky.mts",
    `export async function onRecord(record) {
      await null;
      switch (record.data[0]) {
        case ${THROWS}: throw new Error("poison in " + record.partitionKey);
        case ${HANGS}: return await new Promise(() => {});
        case ${LIES}: return [{ ...record.message, data: "made before" }, { data: 5 }];
      }
    }\n`,
  );
  await road.script(
    "last.mts",
    "export const onRecord = (r) => ({ ...r.message, data: r.data.subarray(1) });\n",
  );
  const file = await road.write("connector.toml", {
    checkpointInterval: 200,
    deadLetter: { topic: deadTopic(road) },
    hooks: [{ path: "./first.mts" }, { path: "./picky.mts", retries: 2, timeoutMs: 400 }, {
      path: "./last.mts",
    }],
  });
  const bytes = (kind: number, size: number) => Buffer.concat([Buffer.of(kind), randomBytes(size)]);
  const put = (records: readonly Uint8Array[]) =>
    road.kinesis.putRecords(
      road.streamName,
      records.map((data, index) => ({ partitionKey: `key ${index}`, data })),
    );

  // A run without end that drains: 0, with or without dead letters.
  put([bytes(FINE, 10), bytes(THROWS, 10), bytes(FINE, 10)]);
  const endless = road.run("run", file);
  await received(endless, deadTopic(road), 1);
  await stopped(endless, 0);
  assert.match(endless.stderr, /3 records read in all, 1 dead-lettered/);

  const before = road.kinesis.records(road.streamName).length;
  const kinds = Array.from(
    { length: 200 },
    (_, index) => index % 50 === 7 ? THROWS : index === 60 ? HANGS : index === 61 ? LIES : FINE,
  );
  put(kinds.map((kind, index) => bytes(kind, index * 20)));
  const parts = [FINE, THROWS, FINE].map((kind, index) => ({
    partitionKey: `user ${index}`,
    data: bytes(kind, 30),
  }));
  put([encodeAggregate(parts)]);
  const bounded = road.run("run", file, "--until", "now");
  await ended(bounded, 3);
  assert.match(bounded.stderr, /203 records read in all, 7 dead-lettered/);
  assert.match(
    bounded.stderr,
    /record goes to the dead-letter topic: onRecord of .*picky\.mts failed .*poison in/,
  );

  const stored = road.kinesis.records(road.streamName).slice(before);
  const dead = (await readTopic(deadTopic(road))).slice(1);
  const aggregate = stored.findLast(({ data }) => data[0] === 0xf3)!;
  const expected = [
    ...stored.filter(({ data }) => [THROWS, HANGS, LIES].includes(data[0]!)).map((record) => ({
      data: Buffer.from(record.data),
      key: record.partitionKey,
      eventTime: record.approximateArrivalTimestamp,
      record: recordProperties(road, record),
    })),
    {
      data: parts[1]!.data,
      key: "user 1",
      eventTime: aggregate.approximateArrivalTimestamp,
      record: recordProperties(road, aggregate, 1, "user 1"),
    },
  ];
  const byNumber = <T extends { record: Record<string, string> }>(list: readonly T[]): T[] =>
    [...list].sort((a, b) =>
      a.record["kinesis.sequence.number"]! < b.record["kinesis.sequence.number"]! ? -1 : 1
    );
  assert.deepEqual(
    byNumber(dead.map((message) => {
      const { data, key, eventTime } = message;
      return { data, key, eventTime, record: sorted(message).record };
    })),
    byNumber(expected),
  );
  const picky = new RegExp("picky\\.mts$");
  for (const message of dead) {
    const { failure } = sorted(message);
    const kind = message.data![0]!;
    assert.deepEqual(Object.keys(failure).sort(), [
      "failure.attempts",
      "failure.code",
      "failure.message",
      "failure.script",
      "failure.time",
    ]);
    assert.equal(failure["failure.code"], "HOOK_FAILED");
    assert.match(failure["failure.script"]!, picky);
    assert.equal(failure["failure.attempts"], kind === LIES ? "1" : "3");
    const words = { [THROWS]: /poison in/, [HANGS]: /timeoutMs = 400/, [LIES]: /a number as data/ }[kind]!;
    assert.match(failure["failure.message"]!, words);
    assert.ok(Math.abs(Date.parse(failure["failure.time"]!) - Date.now()) < 300_000);
  }
  assert.equal((await readTopic(road.topic)).length, 2 + 203 - 7, "none of their messages is published");
});

test("e2e dead letters: messages that the broker refuses for good, one dead letter for each record", {
  skip,
}, async (t) => {
  const road = await layRoad(t, { shards: 1, maxRecordBytes: 10 * 1024 * 1024 });
  const admin = pulsarAdmin();
  const gone = `${road.topic}-gone`;
  await admin.createTopic(gone);
  await admin.terminate(gone);
  await road.script(
    "route.mts",
    `export function onRecord(record) {
      const text = record.data.length > 1000 ? "" : record.text();
      const topics = text.startsWith("to ") ? text.slice(3).split(" ") : [];
      if (topics.length > 0) return topics.map((topic) => ({ ...record.message, topic, data: "for " + topic }));
    }\n`,
  );
  const extras = Array.from({ length: 3 }, (_, index) => `${road.topic}-extra-${index}`);
  const large = randomBytes(6 * 1024 * 1024);
  const records: (string | Uint8Array)[] = [
    "first",
    `to ${gone}`,
    `to ${road.topic} ${gone} ${gone}`,
    "to a//b",
    "to persistent://no-such-tenant/nowhere/topic",
    large,
    ...extras.map((topic) => `to ${topic}`),
    "last",
  ];
  road.kinesis.putRecords(
    road.streamName,
    records.map((data, index) => ({ partitionKey: `key ${index}`, data })),
  );
  const file = await road.write("connector.toml", {
    checkpointInterval: 200,
    pulsar: { chunking: false, maxProducers: 1 },
    deadLetter: { topic: deadTopic(road) },
    hooks: [{ path: "./route.mts" }],
  });
  const cli = road.run("run", file, "--until", "now");
  await ended(cli, 3);

  const dead = await readTopic(deadTopic(road), { queueSize: 5 });
  const stored = road.kinesis.records(road.streamName);
  const letterOf = (index: number): TopicMessage => {
    const found = dead.filter(({ key }) => key === `key ${index}`);
    assert.equal(found.length, 1, `record ${index} has ${found.length} dead letters: ${cli.stderr}`);
    assert.ok(found[0]!.data!.equals(Buffer.from(stored[index]!.data)), `bytes of record ${index}`);
    assert.deepEqual(sorted(found[0]!).record, recordProperties(road, stored[index]!));
    assert.equal(found[0]!.eventTime, stored[index]!.approximateArrivalTimestamp);
    return found[0]!;
  };
  const failureOf = (index: number) => {
    const { "failure.message": message, "failure.time": time, ...failure } = sorted(letterOf(index)).failure;
    assert.ok(message!.includes(stored[index]!.sequenceNumber), message);
    assert.ok(Date.parse(time!) > 0);
    return failure;
  };
  const terminated = {
    "failure.code": "PULSAR_TOPIC_TERMINATED",
    "failure.topic": gone,
    "failure.attempts": "1",
  };
  assert.deepEqual(failureOf(1), terminated);
  assert.deepEqual(failureOf(2), terminated);
  assert.deepEqual(failureOf(3), {
    "failure.code": "PULSAR_REFUSED",
    "failure.topic": "a//b",
    "failure.attempts": "1",
  });
  assert.match(failureOf(4)["failure.code"]!, /^PULSAR_(TOPIC_NOT_FOUND|REFUSED)$/);
  assert.deepEqual(failureOf(5), {
    "failure.code": "MESSAGE_TOO_LARGE",
    "failure.topic": road.topic,
    "failure.attempts": "1",
  });
  assert.equal(dead.length, 5);
  for (const topic of extras) {
    assert.deepEqual((await readTopic(topic)).map(({ data }) => String(data)), [`for ${topic}`]);
  }
  assert.deepEqual(
    (await readTopic(road.topic)).map(({ data }) => String(data)).sort(),
    ["first", `for ${road.topic}`, "last"],
    "the others of a record are published",
  );
});

test(
  "e2e dead letters: a topic for them that refuses stops the program with both errors, and nothing is lost",
  {
    skip,
  },
  async (t) => {
    const road = await layRoad(t, { shards: 1 });
    const admin = pulsarAdmin();
    await road.script(
      "picky.mts",
      "export const onRecord = (r) => { if (r.text() === 'bad') throw new Error('no such country'); };\n",
    );
    const file = await road.write("connector.toml", {
      checkpointInterval: 200,
      deadLetter: { topic: deadTopic(road) },
      hooks: [{ path: "./picky.mts" }],
    });
    const put = (...texts: string[]) =>
      road.kinesis.putRecords(road.streamName, texts.map((data) => ({ partitionKey: "k", data })));
    put("one");
    const cli = road.run("run", file);
    await received(cli, road.topic, 1);
    await admin.terminate(deadTopic(road));
    put("two", "bad", "three");
    await ended(cli, 1);
    for (
      const words of [
        /the dead letter was refused for good: .*terminated/i,
        /It was to keep this: .*no such country/,
      ]
    ) {
      assert.match(cli.stderr, words);
    }
    const other = await road.write("other.toml", {
      deadLetter: { topic: `${deadTopic(road)}-2` },
      hooks: [{ path: "./picky.mts" }],
    });
    await ended(road.run("run", other, "--until", "now"), 3);
    assert.deepEqual((await readTopic(`${deadTopic(road)}-2`)).map(({ data }) => String(data)), ["bad"]);
    const texts = new Set((await readTopic(road.topic)).map(({ data }) => String(data)));
    assert.deepEqual(texts, new Set(["one", "two", "three"]));
  },
);

test("G1 no loss: kills while records fail and topics refuse leave each record published or a dead letter", {
  skip,
}, async (t) => {
  const road = await layRoad(t, { shards: 2 });
  const admin = pulsarAdmin();
  const gone = `${road.topic}-gone`;
  await admin.createTopic(gone);
  await admin.terminate(gone);
  await road.script(
    "mixed.mts",
    `export function onRecord(record, { options }) {
      const number = Number(record.partitionKey);
      if (number % 10 === 3) throw new Error("poison");
      if (number % 10 === 7) return [record.message, { ...record.message, topic: options.gone }];
    }\n`,
  );
  const file = await road.write("connector.toml", {
    checkpointInterval: 100,
    leases: { failoverTimeMs: 1500 },
    deadLetter: { topic: deadTopic(road) },
    hooks: [{ path: "./mixed.mts", options: { gone } }],
  });
  let count = 0;
  const put = (many: number) =>
    road.kinesis.putRecords(
      road.streamName,
      Array.from({ length: many }, () => ({ partitionKey: String(count++), data: randomBytes(200) })),
    );
  for (let round = 0; round < 2; round++) {
    put(2_000);
    const cli = road.run("run", file);
    await cli.waitFor(/reading shard/, 60_000);
    put(2_000);
    await eventually(() => /goes to the dead-letter topic/.test(cli.stderr), "the first dead letter");
    await delay(round * 100);
    cli.kill("SIGKILL");
    await cli.exitCode;
  }
  await ended(road.run("run", file, "--until", "now"), 3);
  const numbers = async (topic: string) => new Set((await readTopic(topic)).map(({ key }) => Number(key)));
  const [published, dead] = [await numbers(road.topic), await numbers(deadTopic(road))];
  for (let number = 0; number < count; number++) {
    const last = number % 10;
    assert.equal(published.has(number), last !== 3, `record ${number} in its topic`);
    assert.equal(dead.has(number), last === 3 || last === 7, `record ${number} as dead letter`);
  }
});

test(
  "G4 effectively once: killed among failing records and refused messages, each dead letter is stored once by a producer name",
  {
    skip,
  },
  async (t) => {
    const road = await layRoad(t, { shards: 1 });
    const admin = pulsarAdmin();
    const namespace = `public/${randomName("once")}`;
    await admin.call("PUT", `namespaces/${namespace}`, {});
    await admin.setDeduplication(true, namespace);
    const [topic, dead, gone] = ["topic", "dead", "gone"].map((name) =>
      `persistent://${namespace}/${name}`
    ) as [
      string,
      string,
      string,
    ];
    await admin.createTopic(gone);
    await admin.terminate(gone);
    await road.script(
      "mixed.mts",
      `export function onRecord(record, { options }) {
      const number = Number(record.text());
      if (number % 20 === 3) throw new Error("poison");
      if (number % 20 === 7) return [record.message, { ...record.message, topic: options.gone }];
      if (number % 20 === 11) return { ...record.message, topic: "${namespace}/dead" };
    }\n`,
    );
    const file = await road.write("once.toml", {
      checkpointInterval: 150,
      leases: { failoverTimeMs: 2_000 },
      pulsar: { topic, delivery: "effectively-once", maxPendingMessages: 10 },
      deadLetter: { topic: dead },
      hooks: [{ path: "./mixed.mts", options: { gone } }],
    });
    let count = 0;
    const put = (many: number) =>
      road.kinesis.putRecords(
        road.streamName,
        Array.from({ length: many }, () => ({ partitionKey: `key ${count % 7}`, data: String(count++) })),
      );
    let said = "";
    for (let round = 1; round <= 3; round++) {
      put(200);
      const cli = road.run("run", file);
      await received(cli, dead, round * 20 - 5);
      cli.kill("SIGKILL");
      await cli.exitCode;
      said += cli.stderr;
    }
    const last = road.run("run", file, "--until", "now");
    await ended(last, 3);
    said += last.stderr;

    const all = Array.from({ length: count }, (_, number) => number);
    const numbersOf = (messages: readonly TopicMessage[]) => messages.map(({ data }) => Number(data));
    const [letters, published] = [await readTopic(dead), await readTopic(topic)];
    // Killed while the dead letter of a refused message is owed, a shard goes on under a new name: what had come is
    // there again, once.
    const names = new Set([...letters, ...published].map(({ producerName }) => producerName));
    const begun = said.split("Pulsar refused a message for good, and no dead letter keeps its record").length;
    assert.ok(names.size <= begun, `${names.size} names`);
    const expected = [
      [letters, all.filter((number) => [3, 7, 11].includes(number % 20))],
      [published, all.filter((number) => ![3, 11].includes(number % 20))],
    ] as const;
    for (const [messages, numbers] of expected) {
      assert.deepEqual([...new Set(numbersOf(messages))], numbers, "in order");
      for (const name of names) {
        const byName = messages.filter(({ producerName }) => producerName === name);
        assert.equal(new Set(numbersOf(byName)).size, byName.length, "once by a name");
        const [offset = 0, ...others] = byName.map(({ sequenceId, data }) =>
          Number(data) - Math.floor(sequenceId / 1024)
        );
        assert.ok(others.every((other) => other === offset), "its ids count records");
      }
    }
    const reserved = letters.find(({ data }) => Number(data) === 11)!;
    assert.match(
      reserved.properties["failure.message"]!,
      /the topic for dead letters: under delivery = "effectively-once"/,
    );
  },
);
