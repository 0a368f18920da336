// A server in DynamoDB's place that answers as a test wants it, and the lease store of DynamoDB at any server.

import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import type { Clock } from "../../src/core/clock.ts";
import { createDynamoDbLeaseStore } from "../../src/leases/dynamodb.ts";
import type { LeaseStore } from "../../src/leases/store.ts";
import { systemClock } from "../../src/runtime.ts";
import { dynaliteClientConfig } from "../servers/dynalite.ts";

/** The URL of a server at a free port; closed at the test's end. */
export async function dynamoServer(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A store of the table "leases"; closed at the test's end. */
export async function storeAt(t: TestContext, url: string, clock: Clock = systemClock): Promise<LeaseStore> {
  const store = await createDynamoDbLeaseStore({
    tableName: "leases",
    clientConfig: dynaliteClientConfig(url),
    clock,
  });
  t.after(() => store.close());
  return store;
}
