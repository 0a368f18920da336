// Registered consumers of the local Kinesis server, through the SDK.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DeleteStreamCommand,
  DeregisterStreamConsumerCommand,
  DescribeStreamConsumerCommand,
  type DescribeStreamConsumerInput,
  DescribeStreamSummaryCommand,
  type KinesisClient,
  ListStreamConsumersCommand,
  RegisterStreamConsumerCommand,
  SubscribeToShardCommand,
} from "@aws-sdk/client-kinesis";
import { FakeClock } from "../fakes.ts";
import { randomName, startKinesisStream } from "../servers/kinesis.ts";

const ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/";

function register(client: KinesisClient, streamName: string, ConsumerName: string) {
  return client.send(new RegisterStreamConsumerCommand({ StreamARN: ARN + streamName, ConsumerName }));
}

test("local kinesis: a consumer is registered, described both ways, counted and deregistered", async (t) => {
  const { client, streamName } = await startKinesisStream(t, { clock: new FakeClock() });
  const { Consumer: consumer } = await register(client, streamName, "reader");
  const seconds = Date.UTC(2026, 0, 1) / 1000;
  assert.deepEqual(consumer, {
    ConsumerARN: `${ARN}${streamName}/consumer/reader:${seconds}`,
    ConsumerCreationTimestamp: new Date(seconds * 1000),
    ConsumerName: "reader",
    ConsumerStatus: "ACTIVE",
  });
  const described = { ...consumer, StreamARN: ARN + streamName };
  const byArn = { ConsumerARN: consumer!.ConsumerARN };
  for (const reference of [byArn, { StreamARN: ARN + streamName, ConsumerName: "reader" }]) {
    const { ConsumerDescription } = await client.send(new DescribeStreamConsumerCommand(reference));
    assert.deepEqual(ConsumerDescription, described);
  }
  const count = async () => {
    const summary = await client.send(new DescribeStreamSummaryCommand({ StreamName: streamName }));
    return summary.StreamDescriptionSummary!.ConsumerCount;
  };
  assert.equal(await count(), 1);
  await client.send(new DeregisterStreamConsumerCommand(byArn));
  assert.equal(await count(), 0);
  await assert.rejects(client.send(new DescribeStreamConsumerCommand(byArn)), {
    name: "ResourceNotFoundException",
    message: `Consumer ${
      consumer!.ConsumerARN
    } under stream ${ARN}${streamName}, account 000000000000 not found.`,
  });
});

test("local kinesis: a name is taken once, and made again is another consumer", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t, { clock: new FakeClock() });
  const first = kinesis.registerConsumer(streamName, "reader");
  await assert.rejects(register(client, streamName, "reader"), {
    name: "ResourceInUseException",
    message: `Consumer reader under stream ${streamName}, account 000000000000 already exists.`,
  });
  kinesis.deregisterConsumer(first);
  const second = kinesis.registerConsumer(streamName, "reader");
  assert.notEqual(first, second);
  await assert.rejects(client.send(new DescribeStreamConsumerCommand({ ConsumerARN: first })), {
    name: "ResourceNotFoundException",
  });
});

test("local kinesis: a consumer takes its time, and cannot be subscribed with before", async (t) => {
  const clock = new FakeClock();
  const { client, streamName, shardIds: [ShardId] } = await startKinesisStream(t, {
    clock,
    consumerTransitionMs: 1000,
  });
  const { Consumer: consumer } = await register(client, streamName, "reader");
  const reference = { ConsumerARN: consumer!.ConsumerARN };
  const status = async () => {
    const answer = await client.send(new DescribeStreamConsumerCommand(reference));
    return answer.ConsumerDescription!.ConsumerStatus;
  };
  const subscribe = () =>
    client.send(
      new SubscribeToShardCommand({ ...reference, ShardId, StartingPosition: { Type: "TRIM_HORIZON" } }),
    );
  assert.equal(await status(), "CREATING");
  await assert.rejects(subscribe(), { name: "ResourceInUseException", message: /is not in ACTIVE status/ });
  await clock.advance(1000);
  assert.equal(await status(), "ACTIVE");
  await client.send(new DeregisterStreamConsumerCommand(reference));
  assert.equal(await status(), "DELETING");
  await assert.rejects(register(client, streamName, "reader"), { name: "ResourceInUseException" });
  await clock.advance(1000);
  await assert.rejects(subscribe(), { name: "ResourceNotFoundException" });
});

test("local kinesis: a stream has at most 20 consumers, 5 of them being created", async (t) => {
  const clock = new FakeClock();
  const { client, streamName } = await startKinesisStream(t, { clock, consumerTransitionMs: 100 });
  for (let i = 0; i < 20; i++) {
    if (i > 0 && i % 5 === 0) {
      await assert.rejects(register(client, streamName, "too-soon"), { name: "LimitExceededException" });
      await clock.advance(100);
    }
    await register(client, streamName, `reader-${i}`);
  }
  await clock.advance(100);
  await assert.rejects(register(client, streamName, "too-many"), { name: "LimitExceededException" });
});

test("local kinesis: consumers are listed by name, page by page", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t);
  for (const name of ["c", "a", "b"]) kinesis.registerConsumer(streamName, name);
  const StreamARN = ARN + streamName;
  const first = await client.send(new ListStreamConsumersCommand({ StreamARN, MaxResults: 2 }));
  assert.deepEqual(first.Consumers!.map((consumer) => consumer.ConsumerName), ["a", "b"]);
  const second = await client.send(new ListStreamConsumersCommand({ StreamARN, NextToken: first.NextToken }));
  assert.deepEqual(second.Consumers!.map((consumer) => consumer.ConsumerName), ["c"]);
  assert.equal(second.NextToken, undefined);
  await assert.rejects(client.send(new ListStreamConsumersCommand({ StreamARN, NextToken: "x" })), {
    name: "InvalidArgumentException",
  });
});

test("local kinesis: what names no consumer is refused", async (t) => {
  const { client, streamName } = await startKinesisStream(t);
  const describe = (input: DescribeStreamConsumerInput) =>
    client.send(new DescribeStreamConsumerCommand(input));
  await assert.rejects(describe({}), { name: "ValidationException" });
  await assert.rejects(describe({ StreamARN: ARN + streamName }), { name: "ValidationException" });
  await assert.rejects(describe({ ConsumerARN: ARN + streamName }), { name: "ValidationException" });
  await assert.rejects(describe({ StreamARN: ARN + randomName("none"), ConsumerName: "reader" }), {
    name: "ResourceNotFoundException",
    message: /^Stream /,
  });
  await assert.rejects(register(client, randomName("none"), "reader"), { name: "ResourceNotFoundException" });
});

test("local kinesis: a stream with consumers is deleted only when they may go with it", async (t) => {
  const { kinesis, client, streamName } = await startKinesisStream(t);
  kinesis.registerConsumer(streamName, "reader");
  await assert.rejects(client.send(new DeleteStreamCommand({ StreamName: streamName })), {
    name: "ResourceInUseException",
  });
  await client.send(new DeleteStreamCommand({ StreamName: streamName, EnforceConsumerDeletion: true }));
  await assert.rejects(client.send(new DescribeStreamSummaryCommand({ StreamName: streamName })), {
    name: "ResourceNotFoundException",
  });
});
