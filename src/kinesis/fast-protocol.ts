// The SDK's JSON protocol with a short cut: answers of GetRecords become our records in one step. Everything else,
// errors above all, is read by the SDK. Every answer's date is noted on the way.

import { Buffer } from "node:buffer";
import type { Readable } from "node:stream";
import { AwsJson1_1Protocol } from "@aws-sdk/core/protocols";
import { decodePage, type GetRecordsPage } from "./decode.ts";

type Settings = ConstructorParameters<typeof AwsJson1_1Protocol>[0];
type Deserialize = AwsJson1_1Protocol["deserializeResponse"];

/** What a GetRecords call gives with this protocol, in place of the SDK's output. */
export interface FastOutput {
  readonly page: GetRecordsPage;
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
      if (operation.name !== "GetRecords" || response.statusCode >= 300) {
        return await super.deserializeResponse<Output>(operation, context, response);
      }
      const page = decodePage(await collect(response.body));
      const output: FastOutput & Awaited<ReturnType<Deserialize>> = {
        page,
        $metadata: this.deserializeMetadata(response),
      };
      return output as unknown as Output;
    }
  };
}

/** All bytes of a body. */
export function collect(body: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    body.on("data", (chunk: Buffer) => chunks.push(chunk));
    body.once("end", () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    body.once("error", reject);
    // Some runtimes end a broken connection without an error.
    body.once(
      "close",
      () => reject(Object.assign(new Error("the answer broke off"), { code: "ECONNRESET" })),
    );
  });
}
