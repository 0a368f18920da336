// Who may do what, when credentials are configured: the access key must be known, the signature (version 4)
// right, the session token the one that belongs to the key, and the operation not denied. Without configured
// credentials every request is let in, signed or not.

import { Buffer } from "node:buffer";
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { KinesisError } from "./errors.ts";
import type { OperationName } from "./operations/table.ts";

/** A key pair that the local server accepts. */
export interface LocalCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  /** Operations that this identity may not call (AccessDeniedException). @default none */
  readonly denied?: readonly OperationName[] | undefined;
}

/** A request as far as its signature covers it. */
export interface SignedRequest {
  readonly method: string;
  readonly path: string;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/**
 * Lets a request in, or throws MissingAuthenticationTokenException, IncompleteSignatureException,
 * UnrecognizedClientException, InvalidSignatureException.
 */
export function authenticate(request: SignedRequest, known: readonly LocalCredentials[]): LocalCredentials {
  const header = request.headers.authorization;
  if (header === undefined) {
    throw new KinesisError("MissingAuthenticationTokenException", "Missing Authentication Token");
  }
  const [, accessKeyId, scope, signedHeaders, signature] =
    /Credential=([^/,\s]+)\/([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})/.exec(header) ??
      [];
  if (!accessKeyId || !scope || !signedHeaders || !signature) {
    throw new KinesisError(
      "IncompleteSignatureException",
      "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters.",
    );
  }
  const credentials = known.find((candidate) => candidate.accessKeyId === accessKeyId);
  if (!credentials || credentials.sessionToken !== request.headers["x-amz-security-token"]) {
    throw new KinesisError(
      "UnrecognizedClientException",
      "The security token included in the request is invalid.",
    );
  }
  const expected = sign(request, scope, signedHeaders, credentials.secretAccessKey);
  if (!timingSafeEqual(expected, Buffer.from(signature, "hex"))) {
    throw new KinesisError(
      "InvalidSignatureException",
      "The request signature we calculated does not match the signature you provided. Check your AWS Secret " +
        "Access Key and signing method. Consult the service documentation for details.",
    );
  }
  return credentials;
}

/** @throws KinesisError AccessDeniedException */
export function authorize(
  credentials: LocalCredentials,
  operation: string,
  accountId: string,
  arn: string,
): void {
  if (!credentials.denied?.some((denied) => denied === operation)) return;
  throw new KinesisError(
    "AccessDeniedException",
    `User: arn:aws:iam::${accountId}:user/${credentials.accessKeyId} is not authorized to perform: ` +
      `kinesis:${operation} on resource: ${arn} because no identity-based policy allows the kinesis:${operation} ` +
      "action",
  );
}

// Signature version 4 for a request without query string; scope is date/region/service/aws4_request.
function sign(request: SignedRequest, scope: string, signedHeaders: string, secret: string): Buffer {
  const headers = signedHeaders.split(";")
    .map((name) => `${name}:${(request.headers[name] ?? "").trim().replace(/ +/g, " ")}\n`);
  const canonical = [
    request.method,
    request.path,
    "",
    headers.join(""),
    signedHeaders,
    createHash("sha256").update(request.body).digest("hex"),
  ].join("\n");
  const toSign = [
    "AWS4-HMAC-SHA256",
    request.headers["x-amz-date"] ?? "",
    scope,
    createHash("sha256").update(canonical).digest("hex"),
  ].join("\n");
  const key = scope.split("/").reduce<string | Buffer>(
    (previous, part) => createHmac("sha256", previous).update(part).digest(),
    "AWS4" + secret,
  );
  return createHmac("sha256", key).update(toSign).digest();
}
