// The SDK's JSON protocol with two short cuts: answers of GetRecords become our records in one step, and the event
// stream of SubscribeToShard is given out as it is. Everything else, errors above all, is read by the SDK. Every
// answer's date is noted on the way.

import type { Readable } from "node:stream";
import { AwsJson1_1Protocol } from "@aws-sdk/core/protocols";
import { type GetRecordsPage, PageDecoder } from "./decode.ts";

type Settings = ConstructorParameters<typeof AwsJson1_1Protocol>[0];
type Deserialize = AwsJson1_1Protocol["deserializeResponse"];

/** What a GetRecords call gives with this protocol, in place of the SDK's output. */
export interface FastOutput {
  readonly page: GetRecordsPage;
}

/** What a SubscribeToShard call gives with this protocol: its event stream, of which nothing was read. */
export interface EventStreamOutput {
  readonly body: Readable;
}

/** The protocol as the SDK's `protocol` setting wants it: a class that it makes an instance of. */
export function fastKinesisProtocol(
  onDate: (header: string | undefined) => void,
): new (settings: Settings) => AwsJson1_1Protocol {
  return class FastKinesis extends AwsJson1_1Protocol {
    override async deserializeResponse<Output extends Awaited<ReturnType<Deserialize>>>(
      ...[operation, context, response]: Parameters<Deserialize>
    ): Promise<Output> {
      onDate(response.headers.date ?? response.headers.Date);
      const isFast = operation.name === "GetRecords" || operation.name === "SubscribeToShard";
      if (!isFast || response.statusCode >= 300) {
        return await super.deserializeResponse<Output>(operation, context, response);
      }
      const output: FastOutput | EventStreamOutput = operation.name === "GetRecords"
        ? { page: await decodeBody(response.body) }
        : { body: response.body };
      return { ...output, $metadata: this.deserializeMetadata(response) } as unknown as Output;
    }
  };
}

/** Decodes a body as it arrives: it may be 14 MB, and many may arrive at once. */
function decodeBody(body: Readable): Promise<GetRecordsPage> {
  return new Promise((resolve, reject) => {
    const decoder = new PageDecoder();
    const fail = (error: unknown): void => {
      decoder.close();
      reject(error);
      body.destroy();
    };
    body.on("data", (chunk: Uint8Array) => {
      try {
        decoder.push(chunk);
      } catch (error) {
        fail(error);
      }
    });
    body.once("end", () => {
      try {
        resolve(decoder.end());
      } catch (error) {
        fail(error);
      }
    });
    body.on("error", fail);
    // Some runtimes end a broken connection without an error.
    body.once("close", () => fail(Object.assign(new Error("the answer broke off"), { code: "ECONNRESET" })));
  });
}
