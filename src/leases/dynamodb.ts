// The lease table in DynamoDB: the only file that knows the AWS SDK's DynamoDB client, and it loads it when used.
// Every call is one attempt with a hard time-out: a retry inside the SDK after a lost response would look like a
// lease that somebody else took (design §7).

import type {
  AttributeValue,
  DynamoDBClient,
  DynamoDBClientConfig,
  TableDescription,
} from "@aws-sdk/client-dynamodb";
import { type Backoff, backoffDelay } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { ConnectorError } from "../core/errors.ts";
import { withDeadline } from "./deadline.ts";
import { toConnectorError } from "./errors.ts";
import { toUpdateExpression } from "./expression.ts";
import { fromItem, type ItemChange, type LeaseItem, toItem, toItemChange, toMetaChange } from "./row.ts";
import { type ScanPage, scanPages } from "./scan-pages.ts";
import type {
  ClientVersion,
  Lease,
  LeaseChange,
  LeaseMeta,
  LeaseScan,
  LeaseStore,
  ScanOptions,
  WriteResult,
} from "./store.ts";

/** Options of {@link createDynamoDbLeaseStore}. */
export interface DynamoDbLeaseStoreOptions {
  readonly tableName: string;
  /** Region, endpoint, credentials, requestHandler, customUserAgent: the SDK's own configuration. */
  readonly clientConfig: DynamoDBClientConfig;
  readonly clock: Clock;
  /** Time-out of a write to one row, milliseconds; see `leaseTimes`. @default 3333 */
  readonly writeTimeoutMs?: number | undefined;
  /** Time-out of every other call (each page of a scan), milliseconds. @default 10000 */
  readonly callTimeoutMs?: number | undefined;
}

type Sdk = typeof import("@aws-sdk/client-dynamodb");
type Item = Record<string, AttributeValue>;

// A new table is ACTIVE within seconds; the KCL gives up after ten minutes too.
const TABLE_READY_POLL: Backoff = { firstMs: 50, maxMs: 1000 };
const TABLE_READY_LIMIT_MS = 600_000;

/** Loads the SDK and makes a {@link LeaseStore}; nothing is asked of AWS yet. */
export async function createDynamoDbLeaseStore(options: DynamoDbLeaseStoreOptions): Promise<LeaseStore> {
  return new DynamoDbLeaseStore(options, await import("@aws-sdk/client-dynamodb"));
}

class DynamoDbLeaseStore implements LeaseStore {
  readonly tableName: string;
  readonly #sdk: Sdk;
  readonly #client: DynamoDBClient;
  readonly #clock: Clock;
  readonly #writeTimeoutMs: number;
  readonly #callTimeoutMs: number;

  constructor(options: DynamoDbLeaseStoreOptions, sdk: Sdk) {
    this.tableName = options.tableName;
    this.#sdk = sdk;
    this.#clock = options.clock;
    this.#writeTimeoutMs = options.writeTimeoutMs ?? 3333;
    this.#callTimeoutMs = options.callTimeoutMs ?? 10_000;
    this.#client = new sdk.DynamoDBClient({ ...options.clientConfig, maxAttempts: 1 });
  }

  async open(signal: AbortSignal): Promise<"created" | "existed"> {
    const deadline = this.#clock.monotonic() + TABLE_READY_LIMIT_MS;
    let created = false;
    for (let attempt = 1;; attempt++) {
      const table = await this.#describe(this.tableName, signal);
      if (table === undefined) {
        created = await this.#createTable(signal) || created;
      } else if (table.TableStatus === "ACTIVE" || table.TableStatus === "UPDATING") {
        this.#checkShape(table);
        return created ? "created" : "existed";
      }
      if (this.#clock.monotonic() >= deadline) {
        throw new ConnectorError(
          `DynamoDB table "${this.tableName}" cannot be used after ten minutes (${table?.TableStatus}); ` +
            "look at it in the AWS console",
          { code: "AWS_UNAVAILABLE", where: { table: this.tableName } },
        );
      }
      await this.#clock.sleep(backoffDelay(TABLE_READY_POLL, attempt, 0), signal);
      signal.throwIfAborted();
    }
  }

  scan({ consistent = false, cursor, signal }: ScanOptions = {}): Promise<LeaseScan> {
    return scanPages<Item>((from) => this.#scanPage(from, consistent, signal), this.#clock, cursor);
  }

  async get(leaseKey: string): Promise<Lease | undefined> {
    const item = await this.#getItem(this.tableName, "leaseKey", leaseKey);
    return item && fromItem(item, this.tableName);
  }

  create(lease: Lease): Promise<boolean> {
    const command = new this.#sdk.PutItemCommand({
      TableName: this.tableName,
      Item: toSdk(toItem(lease)),
      ConditionExpression: "attribute_not_exists(leaseKey)",
    });
    return this.#write(
      "PutItem",
      lease.leaseKey,
      (abortSignal) => this.#client.send(command, { abortSignal }),
    )
      .then((answer) => answer !== undefined);
  }

  async update(leaseKey: string, expectedCounter: number, change: LeaseChange): Promise<WriteResult> {
    const { whileCheckpointOwner: owner } = change;
    let condition = "leaseCounter = :expected";
    if (owner !== undefined) condition += " AND checkpointOwner = :owner";
    else if (change.checkpointOwner !== null) condition += " AND attribute_not_exists(checkpointOwner)";
    const item = await this.#update(leaseKey, toItemChange(change, expectedCounter), condition, {
      ":expected": { N: String(expectedCounter) },
      ...(owner === undefined ? {} : { ":owner": { S: owner } }),
    });
    const lease = item && fromItem(item, this.tableName);
    return lease === undefined ? { done: false } : { done: true, lease };
  }

  async delete(leaseKey: string, expectedCounter: number): Promise<boolean> {
    const command = new this.#sdk.DeleteItemCommand({
      TableName: this.tableName,
      Key: { leaseKey: { S: leaseKey } },
      ConditionExpression: "attribute_not_exists(leaseKey) OR leaseCounter = :expected",
      ExpressionAttributeValues: { ":expected": { N: String(expectedCounter) } },
    });
    const answer = await this.#write(
      "DeleteItem",
      leaseKey,
      (abortSignal) => this.#client.send(command, { abortSignal }),
    );
    return answer !== undefined;
  }

  async setMeta(leaseKey: string, meta: LeaseMeta): Promise<void> {
    const change = toMetaChange(meta);
    if (change !== undefined) await this.#update(leaseKey, change, "attribute_exists(leaseKey)", {});
  }

  async tableState(tableName: string): Promise<"missing" | "empty" | "used"> {
    const table = await this.#describe(tableName);
    if (table === undefined || table.TableStatus === "DELETING") return "missing";
    if (table.TableStatus === "CREATING") return "empty";
    const command = new this.#sdk.ScanCommand({ TableName: tableName, Limit: 1 });
    const page = await this.#call(
      { operation: "Scan", table: tableName },
      (abortSignal) => this.#client.send(command, { abortSignal }),
    );
    return (page.Items ?? []).length === 0 ? "empty" : "used";
  }

  async clientVersion(): Promise<ClientVersion> {
    let unknown: ConnectorError | undefined;
    // Until 3.5 the item has a table of its own, since then it stands in the lease table (kcl-compat §2.5).
    for (
      const [table, key] of [[`${this.tableName}-CoordinatorState`, "key"], [this.tableName, "leaseKey"]]
    ) {
      try {
        const version = (await this.#getItem(table!, key!, "Migration3.0"))?.["cv"]?.S;
        if (version !== undefined) return { known: true, version };
      } catch (thrown) {
        const error = toConnectorError(thrown, { operation: "GetItem", table: table! });
        if (error.retryable) throw error;
        if (isMissing(error)) continue;
        unknown = error;
      }
    }
    return unknown === undefined ? { known: true, version: undefined } : { known: false, error: unknown };
  }

  // deno-lint-ignore require-await
  async close(): Promise<void> {
    this.#client.destroy();
  }

  async #scanPage(
    from: Item | undefined,
    consistent: boolean,
    signal: AbortSignal | undefined,
  ): Promise<ScanPage<Item>> {
    const command = new this.#sdk.ScanCommand({
      TableName: this.tableName,
      ConsistentRead: consistent,
      ...(from === undefined ? {} : { ExclusiveStartKey: from }),
    });
    const { Items: items = [], LastEvaluatedKey: next } = await this.#call(
      { operation: "Scan", table: this.tableName },
      (abortSignal) => this.#client.send(command, { abortSignal }),
      { signal },
    );
    const leases = items.map((item) => fromItem(fromSdk(item), this.tableName))
      .filter((lease) => lease !== undefined);
    return { leases, foreignItems: items.length - leases.length, next };
  }

  async #describe(tableName: string, signal?: AbortSignal): Promise<TableDescription | undefined> {
    const command = new this.#sdk.DescribeTableCommand({ TableName: tableName });
    try {
      const answer = await this.#call(
        { operation: "DescribeTable", table: tableName },
        (abortSignal) => this.#client.send(command, { abortSignal }),
        { signal },
      );
      return answer.Table;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** False when somebody else is making it at this moment. */
  async #createTable(signal: AbortSignal): Promise<boolean> {
    const command = new this.#sdk.CreateTableCommand({
      TableName: this.tableName,
      KeySchema: [{ AttributeName: "leaseKey", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "leaseKey", AttributeType: "S" }],
      BillingMode: "PAY_PER_REQUEST",
    });
    try {
      await this.#call(
        { operation: "CreateTable", table: this.tableName },
        (abortSignal) => this.#client.send(command, { abortSignal }),
        { signal },
      );
      return true;
    } catch (error) {
      if (causeName(error) === "ResourceInUseException") return false;
      throw error;
    }
  }

  #checkShape(table: TableDescription): void {
    const [key, ...more] = table.KeySchema ?? [];
    const type = table.AttributeDefinitions?.find((it) => it.AttributeName === key?.AttributeName)
      ?.AttributeType;
    if (key?.AttributeName === "leaseKey" && type === "S" && more.length === 0) return;
    const keys = (table.KeySchema ?? []).map((it) => `${it.AttributeName} (${it.KeyType})`).join(", ");
    throw new ConnectorError(
      `DynamoDB table "${this.tableName}" is no lease table: its key is ${keys}, not leaseKey (HASH, a string); ` +
        "choose another applicationName or leases.table",
      { code: "LEASE_TABLE_MISMATCH", where: { table: this.tableName } },
    );
  }

  async #getItem(table: string, keyName: string, key: string): Promise<LeaseItem | undefined> {
    const command = new this.#sdk.GetItemCommand({
      TableName: table,
      Key: { [keyName]: { S: key } },
      ConsistentRead: true,
    });
    const answer = await this.#call(
      { operation: "GetItem", table },
      (abortSignal) => this.#client.send(command, { abortSignal }),
    );
    return answer.Item && fromSdk(answer.Item);
  }

  /** The row after the change, or `undefined` when the condition failed. */
  async #update(
    leaseKey: string,
    change: ItemChange,
    condition: string,
    values: LeaseItem,
  ): Promise<LeaseItem | undefined> {
    const expression = toUpdateExpression(change, condition, values);
    const command = new this.#sdk.UpdateItemCommand({
      TableName: this.tableName,
      Key: { leaseKey: { S: leaseKey } },
      ...expression,
      ExpressionAttributeValues: toSdk(expression.ExpressionAttributeValues),
      ReturnValues: "ALL_NEW",
    });
    const answer = await this.#write(
      "UpdateItem",
      leaseKey,
      (abortSignal) => this.#client.send(command, { abortSignal }),
    );
    return answer?.Attributes && fromSdk(answer.Attributes);
  }

  /** A write to one row; `undefined` when its condition failed. */
  async #write<T>(
    operation: string,
    shardId: string,
    send: (signal: AbortSignal) => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await this.#call({ operation, table: this.tableName, shardId }, send, {
        timeoutMs: this.#writeTimeoutMs,
      });
    } catch (error) {
      if (causeName(error) === "ConditionalCheckFailedException") return undefined;
      throw error;
    }
  }

  async #call<T>(
    request: { readonly operation: string; readonly table: string; readonly shardId?: string },
    send: (signal: AbortSignal) => Promise<T>,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    try {
      const timeoutMs = options.timeoutMs ?? this.#callTimeoutMs;
      return await withDeadline(this.#clock, { timeoutMs, signal: options.signal }, send);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw toConnectorError(error, request);
    }
  }
}

// The SDK's attribute type is a union of twelve interfaces; ours names the three that a lease row has.
const toSdk = (item: LeaseItem): Item => item as unknown as Item;
const fromSdk = (item: Item): LeaseItem => item as unknown as LeaseItem;

function causeName(error: unknown): string | undefined {
  const cause = error instanceof ConnectorError ? error.cause : undefined;
  return cause instanceof Error ? cause.name : undefined;
}

function isMissing(error: unknown): boolean {
  return causeName(error) === "ResourceNotFoundException";
}
