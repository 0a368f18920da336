// An HTTP proxy between the program and DynamoDB that notes every call and shows row writes on their way, so that a
// test can act between Pulsar's receipt and the stored checkpoint.

import { Buffer } from "node:buffer";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import type { Scope } from "../e2e/kit.ts";

/** One call as it was seen. */
export interface LeaseCall {
  /** UpdateItem, PutItem, Scan … */
  readonly operation: string;
  /** Of a row's call. */
  readonly leaseKey: string | undefined;
  /** Checkpoint that an UpdateItem writes: digits or a sentinel. */
  readonly checkpoint: string | undefined;
  /** Arrival, `performance.now()`. */
  readonly at: number;
  /** HTTP status; undefined while there is no answer. */
  status?: number;
}

/** A running proxy. */
export interface DynamoDbProxy {
  readonly url: string;
  readonly calls: readonly LeaseCall[];
  /**
   * Called before a call is passed on, and when its answer is there; what it returns is awaited. "drop" before: the
   * call is lost on its way.
   */
  onCall?: ((call: LeaseCall, when: "before" | "after") => Promise<"drop" | void> | void) | undefined;
}

/** Starts one; it ends with the scope. */
export async function startDynamoDbProxy(scope: Scope, target: string): Promise<DynamoDbProxy> {
  const { hostname, port } = new URL(target);
  const calls: LeaseCall[] = [];
  const server = createServer((incoming, answer) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk) => chunks.push(chunk));
    incoming.on("end", async () => {
      const body = Buffer.concat(chunks);
      const call = leaseCall(String(incoming.headers["x-amz-target"] ?? ""), body.toString());
      calls.push(call);
      if (await proxy.onCall?.(call, "before") === "drop") return void incoming.destroy();
      const { method, url, headers } = incoming;
      const passed = request({
        hostname,
        port,
        method,
        path: url,
        headers: { ...headers, host: `${hostname}:${port}` },
      });
      passed.on("error", () => answer.destroy());
      passed.on("response", (response) => {
        const parts: Buffer[] = [];
        response.on("data", (chunk) => parts.push(chunk));
        response.on("error", () => answer.destroy());
        response.on("end", async () => {
          call.status = response.statusCode ?? 0;
          await proxy.onCall?.(call, "after");
          answer.writeHead(response.statusCode ?? 500, response.headers);
          answer.end(Buffer.concat(parts));
        });
      });
      passed.end(body);
    });
    incoming.on("error", () => {}); // the program was killed in the middle
    answer.on("error", () => {});
  });
  // As long as AWS's: after Node's five seconds a client that is slow finds its connection closed as it writes.
  server.keepAliveTimeout = 65_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  scope.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const proxy: DynamoDbProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
  };
  return proxy;
}

interface Body {
  readonly Key?: { readonly leaseKey?: { readonly S?: string } };
  readonly Item?: { readonly leaseKey?: { readonly S?: string } };
  readonly ExpressionAttributeValues?: Readonly<Record<string, { readonly S?: string }>>;
}

function leaseCall(target: string, text: string): LeaseCall {
  const operation = target.slice(target.indexOf(".") + 1);
  const body: Body = text === "" ? {} : JSON.parse(text);
  return {
    operation,
    leaseKey: body.Key?.leaseKey?.S ?? body.Item?.leaseKey?.S,
    checkpoint: operation === "UpdateItem" ? body.ExpressionAttributeValues?.[":checkpoint"]?.S : undefined,
    at: performance.now(),
  };
}
