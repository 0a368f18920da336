import { test } from "node:test";
import assert from "node:assert/strict";
import type { OperationName } from "../../src/local/mod.ts";
import { startDynalite } from "../servers/dynalite.ts";
import { assertWords, fastClock, faultWorld, KEYS, keysParam, SECRET_KEY, soon, until } from "./kit.ts";

test("faults kinesis: a stream that does not exist is named with region and endpoint, and nothing is made", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const world = await faultWorld(t, { dynamoEndpoint: dynalite.url });
  const run = world.run({ awsKinesisStreamName: "no-such-stream" });
  const error = await run.failure();
  assertWords(error, {
    code: "STREAM_NOT_FOUND",
    exit: 1,
    words: [
      'stream "no-such-stream" does not exist',
      "region us-east-1",
      world.kinesis.url,
      "check awsKinesisStreamName",
    ],
  });
  await assert.rejects(run.running, { code: "STREAM_NOT_FOUND" }, "start() tells it too");
  const second = world.run(); // the table is still to be made: nothing was left behind
  await soon(second.running, "a start with the right name");
  assert.ok(second.log.messages("info").some((line) => line.includes("wrote 1 leases at TRIM_HORIZON")));
  await second.stop();
});

test("faults kinesis: a stream that is being deleted is not started with", async (t) => {
  const world = await faultWorld(t, { transitionMs: 60_000 });
  world.kinesis.deleteStream(world.streamName);
  assertWords(await world.run().failure(), {
    code: "STREAM_NOT_FOUND",
    exit: 1,
    words: [`stream "${world.streamName}" is being deleted`],
  });
});

test("faults kinesis: a stream deleted while it is read stops the connector, its end is not taken for a shard's", async (t) => {
  const world = await faultWorld(t);
  world.put(5);
  const run = world.run();
  await world.arrived(5);
  await until(() => run.checkpoints.length > 0, "a checkpoint");
  world.kinesis.deleteStream(world.streamName);
  assertWords(await run.failure(), {
    code: "STREAM_GONE",
    exit: 1,
    words: [
      `stream "${world.streamName}" was deleted while shard shardId-000000000000 was read`,
      "leases are left as they are",
      "start with another applicationName or delete the lease table",
    ],
  });
  assert.ok(run.checkpoints.every(({ reason }) => reason !== "shard-end"));
  assert.equal(world.published().length, 5);
});

for (const [when, records] of [["before a record was read", 0], ["after records were read", 5]] as const) {
  for (const outage of [undefined, "an expired iterator", "an outage"]) {
    const name = `faults kinesis: a stream made again while it is read, ${when}${
      outage ? ` and after ${outage}` : ""
    }`;
    test(`${name}, stops the connector, and nothing of the new one is read`, async (t) => {
      const world = await faultWorld(t);
      const { kinesis, streamName } = world;
      world.put(records, "old");
      const run = world.run({}, { clock: fastClock(outage === "an outage" ? 10 : 1) });
      await world.arrived(records);
      await until(() => kinesis.calls("GetRecords").length > 2, "reads");
      if (outage === "an outage") {
        const down = kinesis.inject({ operation: "*", times: Infinity, error: "InternalFailure" });
        await until(() => down.hits >= 5, "reads that failed"); // the iterator is given up
        down.remove();
      } else if (outage !== undefined) kinesis.inject({ operation: "GetRecords", expireIterator: true });
      kinesis.deleteStream(streamName);
      kinesis.createStream(streamName, { shards: 1 });
      world.put(3, "new");
      assertWords(await run.failure(), {
        code: "STREAM_GONE",
        exit: 1,
        words: [`stream "${streamName}" was deleted and made again while`, "another applicationName"],
      });
      assert.deepEqual(world.published(), Array.from({ length: records }, (_, i) => `old ${i}`));
      assert.ok(run.checkpoints.length <= records);
    });
  }
}

test("faults kinesis: a stream made again before a start with its old lease table is refused, rows untouched", async (t) => {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const world = await faultWorld(t, { dynamoEndpoint: dynalite.url });
  world.put(2);
  const first = world.run();
  await world.arrived(2);
  await first.stop();
  world.kinesis.deleteStream(world.streamName);
  world.kinesis.createStream(world.streamName, { shards: 1 });
  for (let start = 0; start < 2; start++) {
    assertWords(await world.run().failure(), {
      code: "LEASE_TABLE_FOREIGN",
      exit: 1,
      words: [
        `the lease table "${world.config.applicationName}"`,
        "a stream of this name that was created at",
        "leases reset FILE --to POSITION), delete the table, or choose another applicationName",
      ],
    });
  }
  const anew = world.run({ applicationName: `${world.config.applicationName}-anew` });
  world.put(1, "new");
  await world.arrived(3);
  await anew.stop();
});

const WRONG_KEYS = [
  ["a secret key that does not fit", { secretKey: `${SECRET_KEY}x` }, "does not fit the access key"],
  ["an access key nobody knows", { accessKey: "AKIANOBODY" }, "not known there"],
] as const;
for (const [what, keys, words] of WRONG_KEYS) {
  test(`faults kinesis: ${what} is refused at once, in words without secrets`, async (t) => {
    const world = await faultWorld(t, { credentials: [KEYS] });
    const run = world.run({ awsCredentialPluginParam: keysParam(keys) });
    assertWords(await run.failure(), {
      code: "CREDENTIALS_INVALID",
      exit: 1,
      words: [
        `Kinesis DescribeStreamSummary on stream "${world.streamName}"`,
        "AWS does not accept the credentials",
        words,
        "awsCredentialPluginParam",
      ],
    });
    assert.equal(world.kinesis.requests.length, 1, "a wrong key is not tried again");
  });
}

test("faults kinesis: a token that expires while the stream is read stops the connector, what was read is kept", async (t) => {
  const world = await faultWorld(t, { credentials: [KEYS] });
  world.put(3);
  const run = world.run();
  await world.arrived(3);
  world.kinesis.inject({
    operation: "*",
    times: Infinity,
    error: "ExpiredTokenException",
    message: "The security token included in the request is expired",
  });
  assertWords(await run.failure(), {
    code: "CREDENTIALS_INVALID",
    exit: 1,
    words: [
      "Kinesis GetRecords on shard shardId-000000000000",
      `stream "${world.streamName}"`,
      "they have expired (ExpiredTokenException)",
      "awsCredentialPluginParam",
    ],
  });
  assert.equal(
    run.checkpoints.at(-1)?.sequenceNumber,
    world.kinesis.records(world.streamName)[2]!.sequenceNumber,
  );
});

const READING: readonly OperationName[] = [
  "DescribeStreamSummary",
  "ListShards",
  "GetShardIterator",
  "GetRecords",
];
for (const operation of READING) {
  test(`faults kinesis: without the permission for ${operation} the error names the IAM action and the stream`, async (t) => {
    const world = await faultWorld(t, { credentials: [{ ...KEYS, denied: [operation] }] });
    world.put(1);
    const run = world.run();
    assertWords(await run.failure(), {
      code: "ACCESS_DENIED",
      exit: 1,
      words: [
        `the credentials lack the permission kinesis:${operation} on stream "${world.streamName}"`,
        "region us-east-1",
        "allow it in their IAM policy",
      ],
    });
    assert.equal(world.kinesis.calls(operation).length, 1, "a missing permission is not tried again");
    assert.deepEqual(run.checkpoints, []);
  });
}

test("faults kinesis: nobody at the endpoint is asked for a minute, then the start fails with what to check", async (t) => {
  const world = await faultWorld(t);
  const { url } = world.kinesis;
  await world.kinesis.close();
  const begin = performance.now();
  const run = world.run({}, { clock: fastClock(60) });
  assertWords(await run.failure(), {
    code: "AWS_UNAVAILABLE",
    exit: 1,
    words: [
      "Kinesis DescribeStreamSummary",
      world.streamName,
      url,
      "ECONNREFUSED",
      /^gave up the start after 60 s and \d+ tries: /,
      "awsEndpoint",
    ],
  });
  const tries = run.log.messages("warn").filter((line) => line.includes("asking again"));
  assert.ok(tries.length >= 10, `${tries.length} tries`);
  assert.ok(performance.now() - begin >= 500, "it did not give up at once");
});

test("faults kinesis: answers that stop for a while are waited for without end, and nothing is lost", async (t) => {
  const world = await faultWorld(t);
  world.put(20);
  const run = world.run();
  await world.arrived(20);
  const outage = world.kinesis.inject({ operation: "*", times: Infinity, error: "InternalFailure" });
  world.put(20, "later");
  await until(() => outage.hits >= 3, "reads that failed");
  outage.remove();
  await world.arrived(40);
  const expected = ["record", "later"].flatMap((name) =>
    Array.from({ length: 20 }, (_, i) => `${name} ${i}`)
  );
  assert.deepEqual(world.published(), expected);
  assert.match(
    run.log.messages("warn").join("\n"),
    /GetRecords.*InternalFailure.*tried again until it succeeds/,
  );
  assert.match(run.log.messages("info").join("\n"), /Kinesis answers again, after/);
  await run.stop();
});

test("faults kinesis: a service that throttles the start is waited for, and that is said and told", async (t) => {
  const world = await faultWorld(t);
  world.put(2);
  for (const operation of READING) {
    world.kinesis.inject({
      operation,
      times: 2,
      error: operation.startsWith("Get")
        ? "ProvisionedThroughputExceededException"
        : "LimitExceededException",
    });
  }
  const run = world.run({}, { clock: fastClock(5) });
  await world.arrived(2);
  for (const operation of READING) {
    const told = run.throttles.filter((event) => event.operation === operation);
    // A shard's attempts count until a page comes.
    const first = operation === "GetRecords" ? 3 : 1;
    assert.deepEqual(told.map(({ attempt }) => attempt), [first, first + 1], operation);
    assert.ok(told.every(({ service }) => service === "kinesis"));
  }
  const warnings = run.log.messages("warn").join("\n");
  assert.match(
    warnings,
    /Kinesis DescribeStreamSummary on stream "stream-\w+" was throttled.*tried again until/,
  );
  assert.match(warnings, /Kinesis throttles reads of stream/);
  await run.stop();
});
