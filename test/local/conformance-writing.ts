// Conformance checks of writing: which shard, what comes back, limits of size, encryption.

import { randomBytes } from "node:crypto";
import {
  PutRecordsCommand,
  StartStreamEncryptionCommand,
  StopStreamEncryptionCommand,
} from "@aws-sdk/client-kinesis";
import { hashOf, MAX_HASH, refusal, shortId } from "./conformance-kit.ts";

import type { Check } from "./conformance.ts";

/** The checks. */
export const WRITING_CHECKS: readonly Check[] = [
  {
    name: "the MD5 of the partition key chooses the shard",
    expected: true,
    async see(kit) {
      const name = await kit.stream(4);
      for (let i = 0; i < 12; i++) {
        const { shardId } = await kit.put(name, "x", { key: `key-${i}` });
        if (shortId(shardId) !== String(hashOf(`key-${i}`) / ((MAX_HASH + 1n) / 4n))) {
          return `key-${i}: ${shardId}`;
        }
      }
      return true;
    },
  },
  {
    name: "an explicit hash key chooses the shard",
    expected: ["0", "1"],
    async see(kit) {
      const name = await kit.stream(2);
      const first = await kit.put(name, "x", { hash: 0n });
      const last = await kit.put(name, "x", { hash: MAX_HASH });
      return [shortId(first.shardId), shortId(last.shardId)];
    },
  },
  {
    name: "an explicit hash key of 2^128 is refused",
    expected: "InvalidArgumentException",
    see: async (kit) => refusal(kit.put(await kit.stream(), "x", { hash: MAX_HASH + 1n })),
  },
  {
    name: "records come back as they were put",
    expected: { keys: ['ключ-"1"\n', "b"], sameBytes: true, empty: 0, arrived: true, encryption: "none" },
    async see(kit) {
      const StreamName = await kit.stream();
      const bytes = randomBytes(1000);
      const before = Date.now();
      const put = await kit.client.send(
        new PutRecordsCommand({
          StreamName,
          Records: [{ Data: bytes, PartitionKey: 'ключ-"1"\n' }, {
            Data: new Uint8Array(),
            PartitionKey: "b",
          }],
        }),
      );
      const { Records } = await kit.get(
        await kit.iterator(StreamName, { ShardIteratorType: "TRIM_HORIZON" }),
      );
      const arrived = Records!.map((record) => record.ApproximateArrivalTimestamp!.getTime());
      return {
        keys: Records!.map((record) => record.PartitionKey),
        sameBytes: bytes.equals(Records![0]!.Data!) &&
          Records![0]!.SequenceNumber === put.Records![0]!.SequenceNumber,
        empty: Records![1]!.Data!.length,
        arrived: arrived.every((time) => time >= before && time <= Date.now()),
        encryption: Records![0]!.EncryptionType ?? "none",
      };
    },
  },
  {
    name: "PutRecords keeps the order and answers in the order of the request",
    expected: true,
    async see(kit) {
      const StreamName = await kit.stream();
      const texts = Array.from({ length: 50 }, (_, i) => `record ${i}`);
      const put = await kit.client.send(
        new PutRecordsCommand({
          StreamName,
          Records: texts.map((text, i) => ({
            Data: new TextEncoder().encode(text),
            PartitionKey: `key-${i}`,
          })),
        }),
      );
      const { Records } = await kit.get(
        await kit.iterator(StreamName, { ShardIteratorType: "TRIM_HORIZON" }),
      );
      return put.FailedRecordCount === 0 &&
        Records!.every((record, i) =>
          record.SequenceNumber === put.Records![i]!.SequenceNumber &&
          new TextDecoder().decode(record.Data) === texts[i]
        );
    },
  },
  {
    name: "a record above 1 MiB is refused",
    expected: "ValidationException",
    see: async (kit) => refusal(kit.put(await kit.stream(), new Uint8Array(1024 * 1024 + 1))),
  },
  {
    name: "501 records at once are refused",
    expected: "ValidationException",
    see: async (kit) =>
      refusal(
        kit.client.send(
          new PutRecordsCommand({
            StreamName: await kit.stream(),
            Records: Array.from({ length: 501 }, () => ({ Data: new Uint8Array(1), PartitionKey: "k" })),
          }),
        ),
      ),
  },
  {
    name: "encryption is told with the records put while it is on",
    expected: { summary: "KMS", put: "KMS", records: ["none", "KMS", "none"] },
    async see(kit) {
      const StreamName = await kit.stream();
      const key = { StreamName, EncryptionType: "KMS" as const, KeyId: "alias/aws/kinesis" };
      await kit.put(StreamName, "a");
      await kit.client.send(new StartStreamEncryptionCommand(key));
      await kit.active(StreamName);
      const summary = (await kit.summary(StreamName)).EncryptionType;
      const put = await kit.put(StreamName, "b");
      await kit.client.send(new StopStreamEncryptionCommand(key));
      await kit.active(StreamName);
      await kit.put(StreamName, "c");
      const page = await kit.get(await kit.iterator(StreamName, { ShardIteratorType: "TRIM_HORIZON" }));
      return {
        summary,
        put: put.encryption,
        records: page.Records!.map((record) => record.EncryptionType ?? "none"),
      };
    },
  },
];
