// Checks of consumers and subscriptions.

import {
  DeregisterStreamConsumerCommand,
  DescribeStreamConsumerCommand,
  ListStreamConsumersCommand,
  RegisterStreamConsumerCommand,
  type StartingPosition,
  SubscribeToShardCommand,
  type SubscribeToShardEvent,
  UpdateShardCountCommand,
} from "@aws-sdk/client-kinesis";
import { setTimeout as delay } from "node:timers/promises";
import type { Check } from "./conformance.ts";
import { type Kit, refusal, shortId } from "./conformance-kit.ts";

const SHARD = "shardId-000000000000";

/** A stream with one ACTIVE consumer. */
async function consumed(kit: Kit, shards = 1) {
  const name = await kit.stream(shards);
  const streamArn = (await kit.summary(name)).StreamARN!;
  return { name, streamArn, consumerArn: await registered(kit, streamArn, "reader") };
}

/** kinesis-local mixes up consumers of one name that several streams get at the same time. */
function consumerName(streamArn: string, name: string): string {
  return `${name}-${streamArn.split("/").at(-1)}`;
}

async function registered(kit: Kit, streamArn: string, name: string): Promise<string> {
  const answer = await kit.client.send(
    new RegisterStreamConsumerCommand({
      StreamARN: streamArn,
      ConsumerName: consumerName(streamArn, name),
    }),
  );
  const ConsumerARN = answer.Consumer!.ConsumerARN!;
  for (let i = 0; i < 200; i++) {
    if (await statusOf(kit, ConsumerARN) === "ACTIVE") return ConsumerARN;
    await delay(20);
  }
  throw new Error(`consumer ${name} does not become ACTIVE`);
}

// kinesis-local may not know a consumer yet that it has just registered.
async function statusOf(kit: Kit, ConsumerARN: string): Promise<string> {
  try {
    const answer = await kit.client.send(new DescribeStreamConsumerCommand({ ConsumerARN }));
    return answer.ConsumerDescription!.ConsumerStatus!;
  } catch (error) {
    return (error as Error).name;
  }
}

interface Seen {
  readonly texts: string[];
  readonly continuations: (string | undefined)[];
  readonly children: string[][] | undefined;
}

/** The events of a subscription until one satisfies, or for five seconds. */
async function seeEvents(
  kit: Kit,
  consumerArn: string,
  StartingPosition: StartingPosition,
  isEnough: (seen: Seen) => boolean,
  afterFirst: () => Promise<unknown> = () => Promise.resolve(),
): Promise<Seen> {
  const leaving = new AbortController();
  const timer = setTimeout(() => leaving.abort(), 5000);
  const seen = {
    texts: [] as string[],
    continuations: [] as (string | undefined)[],
    children: undefined,
  } as {
    -readonly [K in keyof Seen]: Seen[K];
  };
  try {
    const answer = await kit.client.send(
      new SubscribeToShardCommand({ ConsumerARN: consumerArn, ShardId: SHARD, StartingPosition }),
      { abortSignal: leaving.signal },
    );
    for await (const { SubscribeToShardEvent: event } of answer.EventStream!) {
      note(seen, event!);
      if (seen.continuations.length === 1) await afterFirst();
      if (isEnough(seen)) break;
    }
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
    leaving.abort(); // leaving the loop alone leaves the subscription open
  }
  return seen;
}

function note(seen: { -readonly [K in keyof Seen]: Seen[K] }, event: SubscribeToShardEvent): void {
  seen.texts.push(...event.Records!.map((record) => new TextDecoder().decode(record.Data)));
  seen.continuations.push(event.ContinuationSequenceNumber);
  seen.children ??= event.ChildShards?.map((child) => [
    shortId(child.ShardId),
    ...child.ParentShards!.map((parent) => shortId(parent)),
  ]);
}

export const CONSUMER_CHECKS: readonly Check[] = [
  {
    name: "consumers are registered, found by ARN and by name, listed and counted",
    expected: {
      arn: "STREAM/consumer/reader:SECONDS",
      byName: true,
      listed: ["other", "reader"],
      count: 2,
      twice: "ResourceInUseException",
    },
    async see(kit) {
      const { name, streamArn, consumerArn } = await consumed(kit);
      const reader = { StreamARN: streamArn, ConsumerName: consumerName(streamArn, "reader") };
      const twice = await refusal(kit.client.send(new RegisterStreamConsumerCommand(reader)));
      await registered(kit, streamArn, "other");
      const { ConsumerDescription } = await kit.client.send(new DescribeStreamConsumerCommand(reader));
      const { Consumers } = await kit.client.send(new ListStreamConsumersCommand({ StreamARN: streamArn }));
      return {
        arn: consumerArn.replace(streamArn, "STREAM").replace(`-${name}`, "").replace(/\d+$/, "SECONDS"),
        byName: ConsumerDescription!.ConsumerARN === consumerArn,
        listed: Consumers!.map((consumer) => consumer.ConsumerName!.replace(`-${name}`, "")).sort(),
        count: (await kit.summary(name)).ConsumerCount,
        twice,
      };
    },
  },
  {
    name: "a deregistered consumer is gone",
    expected: { described: "ResourceNotFoundException", subscribed: "ResourceNotFoundException" },
    async see(kit) {
      const { consumerArn: ConsumerARN } = await consumed(kit);
      await kit.client.send(new DeregisterStreamConsumerCommand({ ConsumerARN }));
      const described = () => refusal(kit.client.send(new DescribeStreamConsumerCommand({ ConsumerARN })));
      for (let i = 0; i < 600 && await described() === "accepted"; i++) await delay(50);
      return {
        described: await described(),
        subscribed: await refusal(
          kit.client.send(
            new SubscribeToShardCommand({
              ConsumerARN,
              ShardId: SHARD,
              StartingPosition: { Type: "TRIM_HORIZON" },
            }),
          ),
        ),
      };
    },
  },
  {
    name: "a subscription gives old records, then what is put",
    expected: { texts: ["a", "b", "c"], numbered: true },
    async see(kit) {
      const { name, consumerArn } = await consumed(kit);
      await kit.put(name, "a");
      await kit.put(name, "b");
      const { texts, continuations } = await seeEvents(
        kit,
        consumerArn,
        { Type: "TRIM_HORIZON" },
        (seen) => seen.texts.length >= 3,
        () => kit.put(name, "c"),
      );
      return { texts, numbered: continuations.every((number) => /^\d{56}$/.test(number ?? "")) };
    },
  },
  {
    name: "subscriptions begin at numbers",
    expected: { at: ["b", "c"], after: ["c"] },
    async see(kit) {
      const { name, streamArn, consumerArn } = await consumed(kit);
      const other = await registered(kit, streamArn, "other");
      await kit.put(name, "a");
      const { sequenceNumber: SequenceNumber } = await kit.put(name, "b");
      await kit.put(name, "c");
      const from = async (arn: string, Type: StartingPosition["Type"]) =>
        (await seeEvents(kit, arn, { Type, SequenceNumber }, (seen) => seen.texts.includes("c"))).texts;
      return {
        at: await from(consumerArn, "AT_SEQUENCE_NUMBER"),
        after: await from(other, "AFTER_SEQUENCE_NUMBER"),
      };
    },
  },
  {
    name: "a subscription goes on after an empty event's number",
    expected: ["b"],
    async see(kit) {
      const { name, streamArn, consumerArn } = await consumed(kit);
      const other = await registered(kit, streamArn, "other");
      await kit.put(name, "a");
      const { continuations } = await seeEvents(
        kit,
        consumerArn,
        { Type: "LATEST" },
        (seen) => seen.continuations.length >= 1,
      );
      await kit.put(name, "b");
      const after = await seeEvents(
        kit,
        other,
        { Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: continuations[0] },
        (seen) => seen.texts.length >= 1,
      );
      return after.texts;
    },
  },
  {
    name: "a second subscription right after the first is refused",
    expected: "ResourceInUseException",
    async see(kit) {
      const { consumerArn } = await consumed(kit);
      const input = { ConsumerARN: consumerArn, ShardId: SHARD } as const;
      const leaving = new AbortController();
      await kit.client.send(
        new SubscribeToShardCommand({ ...input, StartingPosition: { Type: "LATEST" } }),
        { abortSignal: leaving.signal },
      );
      const second = async () => {
        const answer = await kit.client.send(
          new SubscribeToShardCommand({ ...input, StartingPosition: { Type: "LATEST" } }),
          { abortSignal: leaving.signal },
        );
        for await (const _ of answer.EventStream!) return;
      };
      const seen = await refusal(second());
      leaving.abort();
      return seen;
    },
  },
  {
    name: "a subscription to a split shard ends with its children",
    expected: { texts: ["a"], children: [["1", "0"], ["2", "0"]], goesOn: false },
    async see(kit) {
      const { name, consumerArn } = await consumed(kit);
      await kit.put(name, "a");
      await kit.split(name);
      const { texts, children, continuations } = await seeEvents(
        kit,
        consumerArn,
        { Type: "TRIM_HORIZON" },
        (seen) => seen.children !== undefined,
      );
      return { texts, children, goesOn: continuations.at(-1) !== undefined };
    },
  },
  {
    name: "doubling and halving the shard count",
    expected: {
      doubled: 4,
      halved: 2,
      generations: ["0", "1", "2<0", "3<0", "4<1", "5<1", "6<2<3", "7<4<5"],
    },
    async see(kit) {
      const name = await kit.stream(2);
      const update = async (TargetShardCount: number) => {
        await kit.client.send(
          new UpdateShardCountCommand({ StreamName: name, TargetShardCount, ScalingType: "UNIFORM_SCALING" }),
        );
        await kit.active(name);
        return (await kit.summary(name)).OpenShardCount;
      };
      const [doubled, halved] = [await update(4), await update(2)];
      const generations = (await kit.shards(name)).map((shard) => {
        const parents = [shard.ParentShardId, shard.AdjacentParentShardId].filter((id) => id !== undefined);
        return [shard.ShardId, ...parents].map(shortId).join("<");
      });
      return { doubled, halved, generations };
    },
  },
];
