// A stand-in for the network below the SDK's client: answers come from a function, byte for byte as given.

import { Buffer } from "node:buffer";
import { Readable } from "node:stream";
import type { TestContext } from "node:test";
import { KinesisClient, type KinesisClientConfig } from "@aws-sdk/client-kinesis";
import { type FanOutApi, openKinesisApi } from "../../src/kinesis/client.ts";
import type { Clock } from "../../src/core/clock.ts";
import { systemClock } from "../../src/runtime.ts";
import { kinesisClientConfig } from "../servers/kinesis.ts";

/** An answer of the server. */
export interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** Chunks as they arrive. */
  readonly body: string | readonly Uint8Array[];
}

/** What was asked. */
export interface Asked {
  /** The API's name, e.g. GetRecords. */
  readonly operation: string;
  readonly input: Record<string, unknown>;
  readonly headers: Record<string, string>;
}

/** Gives an answer, or throws as a broken connection does. */
export type Server = (asked: Asked) => Answer | Promise<Answer>;

/** Client configuration whose every call goes to the function. */
export function transportConfig(server: Server): KinesisClientConfig {
  const handle = async (request: { headers: Record<string, string>; body: Uint8Array }) => {
    const operation = request.headers["x-amz-target"]!.split(".")[1]!;
    const answer = await server({
      operation,
      input: JSON.parse(new TextDecoder().decode(request.body)),
      headers: request.headers,
    });
    const chunks = typeof answer.body === "string" ? [Buffer.from(answer.body)] : answer.body;
    const response = {
      statusCode: answer.status ?? 200,
      headers: answer.headers ?? {},
      body: Readable.from(chunks, { objectMode: false }),
    };
    return { response };
  };
  return {
    ...kinesisClientConfig("http://kinesis.invalid"),
    requestHandler: { handle, metadata: { handlerProtocol: "http/1.1" } } as unknown as NonNullable<
      KinesisClientConfig["requestHandler"]
    >,
  };
}

/** The SDK's own client on a function. */
export function sdkOn(t: TestContext, server: Server): KinesisClient {
  const client = new KinesisClient(transportConfig(server));
  t.after(() => client.destroy());
  return client;
}

/** Our api on a function, for the stream "orders". */
export async function apiOn(t: TestContext, server: Server, clock: Clock = systemClock): Promise<FanOutApi> {
  const api = await openKinesisApi({ clientConfig: transportConfig(server), streamName: "orders", clock });
  t.after(() => api.close());
  return api;
}

/** An error as Kinesis answers it. */
export function errorAnswer(type: string, message = "", status = 400): Answer {
  return {
    status,
    headers: { "content-type": "application/x-amz-json-1.1", "x-amzn-errortype": type },
    body: JSON.stringify({ __type: type, message }),
  };
}
