// AWS's Security Token Service for tests: answers AssumeRole as the real one does (Query protocol, XML), remembers who
// asked for which role, and refuses or issues short-lived keys on request. It does not check signatures.

import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One call of AssumeRole. */
export interface AssumeRoleCall {
  readonly roleArn: string;
  readonly roleSessionName: string;
  readonly externalId?: string | undefined;
  /** Of the caller, from the signature. */
  readonly accessKeyId: string;
  /** The region that the call was signed for. */
  readonly region: string;
  /** Of the caller, when its keys are temporary. */
  readonly sessionToken?: string | undefined;
  readonly userAgent: string;
}

/** How a call is refused. */
export interface StsRefusal {
  /** @default 403 */
  readonly status?: number | undefined;
  /** The service's code, e.g. AccessDenied. */
  readonly code: string;
  readonly message: string;
}

/** A running stand-in. What is set on it counts from the next call on. */
export interface Sts {
  readonly url: string;
  readonly calls: AssumeRoleCall[];
  /** How long issued keys live, milliseconds. @default one hour */
  lifetimeMs: number;
  /** What every call is refused with; undefined = keys are issued. */
  refusal: StsRefusal | undefined;
  /** Whether calls are left without any answer. */
  silent: boolean;
  close(): Promise<void>;
}

/** Options of {@link startSts}. */
export interface StsOptions {
  /** Where expirations are counted from, epoch milliseconds. @default Date.now */
  readonly now?: (() => number) | undefined;
}

/**
 * Starts a stand-in on a free loopback port. The n-th keys that it issues (from 1) are `ASIAISSUED<n>`,
 * `issued-secret-<n>` and `issued-session-token-<n>`.
 */
export async function startSts(options: StsOptions = {}): Promise<Sts> {
  const now = options.now ?? Date.now;
  let issued = 0;
  const server = createServer((request, response) => {
    void answer(request, response).catch((error) => response.destroy(error));
  });

  const sts: Sts = {
    url: "",
    calls: [],
    lifetimeMs: 3_600_000,
    refusal: undefined,
    silent: false,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => error ? reject(error) : resolve());
        server.closeAllConnections();
      }),
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    if (form.get("Action") !== "AssumeRole") {
      refuse(response, {
        status: 400,
        code: "InvalidAction",
        message: `no such action: ${form.get("Action")}`,
      });
      return;
    }
    const call = toCall(request, form);
    sts.calls.push(call);
    if (sts.silent) return;
    if (sts.refusal !== undefined) {
      refuse(response, sts.refusal);
      return;
    }
    const n = ++issued;
    send(
      response,
      200,
      `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>` +
        `<AccessKeyId>ASIAISSUED${n}</AccessKeyId><SecretAccessKey>issued-secret-${n}</SecretAccessKey>` +
        `<SessionToken>issued-session-token-${n}</SessionToken>` +
        `<Expiration>${new Date(now() + sts.lifetimeMs).toISOString()}</Expiration></Credentials>` +
        `<AssumedRoleUser><AssumedRoleId>AROATEST:${xml(call.roleSessionName)}</AssumedRoleId>` +
        `<Arn>${xml(call.roleArn)}/${xml(call.roleSessionName)}</Arn></AssumedRoleUser></AssumeRoleResult>` +
        `<ResponseMetadata><RequestId>request-${n}</RequestId></ResponseMetadata></AssumeRoleResponse>`,
    );
  }

  // As long as AWS's: after Node's five seconds a client that is slow finds its connection closed as it writes.
  server.keepAliveTimeout = 65_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return Object.assign(sts, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

function toCall(request: IncomingMessage, form: URLSearchParams): AssumeRoleCall {
  // AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/sts/aws4_request, SignedHeaders=…
  const [, accessKeyId = "", region = ""] =
    /Credential=([^/]+)\/\d{8}\/([^/]+)\/sts\//.exec(request.headers.authorization ?? "") ?? [];
  return {
    roleArn: form.get("RoleArn") ?? "",
    roleSessionName: form.get("RoleSessionName") ?? "",
    externalId: form.get("ExternalId") ?? undefined,
    accessKeyId,
    region,
    sessionToken: request.headers["x-amz-security-token"]?.toString(),
    userAgent: request.headers["user-agent"] ?? "",
  };
}

function refuse(response: ServerResponse, refusal: StsRefusal): void {
  const status = refusal.status ?? 403;
  send(
    response,
    status,
    `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>` +
      `<Type>${status < 500 ? "Sender" : "Receiver"}</Type><Code>${xml(refusal.code)}</Code>` +
      `<Message>${xml(refusal.message)}</Message></Error><RequestId>refused</RequestId></ErrorResponse>`,
  );
}

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { "content-type": "text/xml", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function xml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
