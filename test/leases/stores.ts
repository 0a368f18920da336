// The two stores behind one door, so that each test of the port runs on both; raw items can be put and seen.

import type { TestContext } from "node:test";
import { MemoryLeaseStore, MemoryLeaseTable } from "../../src/leases/memory.ts";
import { createDynamoDbLeaseStore } from "../../src/leases/dynamodb.ts";
import type { LeaseItem } from "../../src/leases/row.ts";
import type { Lease, LeaseStore } from "../../src/leases/store.ts";
import { sentinel } from "../../src/core/position.ts";
import { systemClock } from "../../src/runtime.ts";
import { startDynalite } from "../servers/dynalite.ts";

export const STREAM = {
  streamArn: "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
  streamCreatedAt: 1.7e12,
};

/** A table that several stores share. */
export interface TestTable {
  /** A store of its own (its own client), opened. */
  store(): Promise<LeaseStore>;
  putItem(item: LeaseItem): Promise<void>;
  item(leaseKey: string): Promise<LeaseItem | undefined>;
}

export const STORE_KINDS: readonly { name: string; table(t: TestContext): Promise<TestTable> }[] = [
  { name: "memory", table: memoryTable },
  { name: "dynalite", table: dynaliteTable },
];

// deno-lint-ignore require-await
async function memoryTable(_t: TestContext): Promise<TestTable> {
  const table = new MemoryLeaseTable();
  return {
    async store() {
      const store = new MemoryLeaseStore(table);
      await store.open();
      return store;
    },
    // deno-lint-ignore require-await
    async putItem(item) {
      table.items.set(item["leaseKey"]!.S!, item);
    },
    // deno-lint-ignore require-await
    async item(leaseKey) {
      return table.items.get(leaseKey);
    },
  };
}

async function dynaliteTable(t: TestContext): Promise<TestTable> {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const { DynamoDBClient, GetItemCommand, PutItemCommand } = await import("@aws-sdk/client-dynamodb");
  const client = new DynamoDBClient(dynalite.clientConfig);
  t.after(() => client.destroy());
  const tableName = "leases";
  const open = async () => {
    const store = await createDynamoDbLeaseStore({
      tableName,
      clientConfig: dynalite.clientConfig,
      clock: systemClock,
    });
    t.after(() => store.close());
    await store.open(new AbortController().signal);
    return store;
  };
  await open();
  return {
    store: open,
    async putItem(item) {
      await client.send(new PutItemCommand({ TableName: tableName, Item: item as never }));
    },
    async item(leaseKey) {
      const Key = { leaseKey: { S: leaseKey } };
      const answer = await client.send(
        new GetItemCommand({ TableName: tableName, Key, ConsistentRead: true }),
      );
      return answer.Item as LeaseItem | undefined;
    },
  };
}

/** The id of the n-th worker of this program. */
export function ourId(n: number): string {
  return `host:${n}:00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
}

/** A row as the connector makes it for an open shard at TRIM_HORIZON, changed as told. */
export function newRow(leaseKey: string, change: Partial<Lease> = {}): Lease {
  return {
    leaseKey,
    leaseCounter: 0,
    ownerSwitchesSinceCheckpoint: 0,
    checkpoint: sentinel("TRIM_HORIZON"),
    parentShardIds: [],
    childShardIds: [],
    startingHashKey: "0",
    endingHashKey: "340282366920938463463374607431768211455",
    ...STREAM,
    ...change,
  };
}
