// DynamoDB with faults: an HTTP stand-in before dynalite that refuses the calls a test names and passes on the others.

import { Buffer } from "node:buffer";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { startDynalite } from "../servers/dynalite.ts";

/** One call as it came. */
export interface DynamoDbCall {
  /** UpdateItem, Scan … */
  readonly operation: string;
  readonly table: string | undefined;
  /** Of a write to a row. */
  readonly leaseKey: string | undefined;
  /** What an UpdateItem stores as checkpoint: digits or a sentinel. */
  readonly checkpoint: string | undefined;
  /** `performance.now()` at its arrival. */
  readonly at: number;
  /** Whether it was refused. */
  readonly refused: boolean;
}

/** An answer in place of DynamoDB's. */
export interface Refusal {
  /** AccessDeniedException …; InternalServerError is answered with status 500, all others with 400. */
  readonly type: string;
  readonly message?: string;
  /** The write takes effect, only its answer is lost. @default false */
  readonly applied?: boolean;
}

/** A running stand-in. */
export interface FaultyDynamoDb {
  readonly url: string;
  readonly calls: DynamoDbCall[];
  /** Decides about each call; "hang" never answers. @default passes all on */
  refuse: (call: Omit<DynamoDbCall, "refused">) => Refusal | "hang" | undefined;
}

/** Starts one, with an empty dynalite behind it; both end with the test. */
export async function startFaultyDynamoDb(t: TestContext): Promise<FaultyDynamoDb> {
  const dynalite = await startDynalite();
  t.after(() => dynalite.close());
  const { hostname, port } = new URL(dynalite.url);
  const server = createServer((incoming, answer) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk) => chunks.push(chunk));
    incoming.on("error", () => {}); // the client gave up
    answer.on("error", () => {});
    incoming.on("end", () => {
      const body = Buffer.concat(chunks);
      const call = readCall(String(incoming.headers["x-amz-target"]), body.toString());
      const refusal = dynamoDb.refuse(call);
      dynamoDb.calls.push({ ...call, refused: refusal !== undefined });
      if (refusal === "hang") return;
      const refuse = ({ type, message = `${type} by the test` }: Refusal): void => {
        answer.writeHead(type === "InternalServerError" ? 500 : 400, {
          "content-type": "application/x-amz-json-1.0",
        });
        answer.end(JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message }));
      };
      if (refusal !== undefined && !refusal.applied) return refuse(refusal);
      const { method, url, headers } = incoming;
      const passed = request({ hostname, port, method, path: url, headers }, (response) => {
        if (refusal !== undefined) {
          response.resume();
          return refuse(refusal);
        }
        answer.writeHead(response.statusCode ?? 500, response.headers);
        response.pipe(answer);
      });
      passed.on("error", () => answer.destroy());
      passed.end(body);
    });
  });
  // As long as AWS's: after Node's five seconds a client that is slow finds its connection closed as it writes.
  server.keepAliveTimeout = 65_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const dynamoDb: FaultyDynamoDb = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls: [],
    refuse: () => undefined,
  };
  return dynamoDb;
}

type Strings = Readonly<Record<string, { readonly S?: string } | undefined>>;

function readCall(
  target: string,
  text: string,
): Omit<DynamoDbCall, "refused"> {
  const operation = target.split(".")[1] ?? "";
  const body = JSON.parse(text || "{}") as {
    readonly TableName?: string;
    readonly Key?: Strings;
    readonly Item?: Strings;
    readonly ExpressionAttributeValues?: Strings;
  };
  return {
    operation,
    table: body.TableName,
    leaseKey: body.Key?.["leaseKey"]?.S ?? body.Item?.["leaseKey"]?.S,
    checkpoint: operation === "UpdateItem" ? body.ExpressionAttributeValues?.[":checkpoint"]?.S : undefined,
    at: performance.now(),
  };
}
