// The service behind any transport: a request's headers and body in, an answer (or what a fault makes of it)
// out. Order of checks as AWS: protocol, credentials, shape, permission, then the operation. An operation runs
// without a pause inside, so that every request is applied as a whole or not at all. What SubscribeToShard opens is
// an answer that goes on; the transport draws it.

import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import { authenticate, authorize, type LocalCredentials } from "./access.ts";
import type { Account } from "./account.ts";
import { expiredIterator, KinesisError } from "./errors.ts";
import { type Fault, Faults, STREAM_FAULTS } from "./faults.ts";
import { LoggedBody } from "./logged-body.ts";
import { EncodedAnswer, type Operation, type Target } from "./operations/operation.ts";
import { operationNamed } from "./operations/table.ts";
import type { EndRequest, RequestLog } from "./request-log.ts";
import { readIterator } from "./shard-iterator.ts";
import type { StreamBody } from "./stream-body.ts";
import { FaultyBody } from "./stream-faults.ts";
import { Subscription } from "./subscription.ts";
import { validate } from "./validation.ts";

const EVENT_STREAM = "application/vnd.amazon.eventstream";
const JSON_1_1 = "application/x-amz-json-1.1";
const TARGET_PREFIX = "Kinesis_20131202.";

/** A request as a transport received it. */
export interface ServiceRequest {
  readonly method: string;
  readonly path: string;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Aborted when the server closes or the client is gone. */
  readonly signal: AbortSignal;
}

/** What the transport shall do. */
export type ServiceReply =
  | {
    readonly kind: "answer";
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    /** The body in slices. */
    readonly chunks: readonly Uint8Array[];
  }
  | {
    readonly kind: "stream";
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: StreamBody;
  }
  /** Close the connection without an answer. */
  | { readonly kind: "drop" }
  /** Refuse this request only (HTTP/2: REFUSED_STREAM); over HTTP/1.1 the same as drop. */
  | { readonly kind: "refuse" }
  /** Answer nothing and leave the connection as it is. */
  | { readonly kind: "hang" };

type Answer = { readonly chunks: readonly Uint8Array[]; readonly records?: number | undefined };

/** Kinesis as clients see it. */
export class KinesisService {
  readonly account: Account;
  readonly faults = new Faults();
  readonly log: RequestLog;
  /** Accepted key pairs; undefined accepts everything. */
  credentials: readonly LocalCredentials[] | undefined;

  constructor(account: Account, log: RequestLog, credentials: readonly LocalCredentials[] | undefined) {
    this.account = account;
    this.log = log;
    this.credentials = credentials;
  }

  async handle(request: ServiceRequest): Promise<ServiceReply> {
    const call = readCall(request);
    if (call instanceof KinesisError) return this.#refuse(call);
    const { target, refusal } = inspect(call, this.account);
    const end = this.log.open(call.name, target, call.input, request.headers);
    const fault = this.faults.next(call.name, target);
    const isLater = fault !== undefined && hitsStream(fault);
    if (fault?.delayMs && !isLater) await this.account.options.clock.sleep(fault.delayMs, request.signal);
    const effect = fault && !isLater && hasEffect(fault) ? fault : undefined;
    let reply: ServiceReply;
    let outcome: { records?: number | undefined; error?: string } = {};
    try {
      if (effect && !effect.applied) {
        reply = this.#suffer(effect, call);
      } else {
        const answer = this.#run(call, target, refusal, request);
        if (answer instanceof Subscription) {
          if (!effect) return this.#stream(answer, isLater ? fault : undefined, end);
          answer.close();
          reply = this.#suffer(effect, call);
        } else {
          reply = effect ? this.#suffer(effect, call) : this.#answer(200, answer.chunks);
          outcome = { records: answer.records };
        }
      }
    } catch (thrown) {
      const error = thrown instanceof KinesisError
        ? thrown
        : new KinesisError("InternalFailure", `defect of the local Kinesis server: ${String(thrown)}`, 500);
      reply = this.#refuse(error);
      outcome = { error: error.name };
    }
    end(
      reply.kind === "answer"
        ? { ...outcome, outcome: "answered", status: reply.status, bytes: length(reply.chunks) }
        : { outcome: reply.kind === "hang" ? "hung" : "dropped" },
    );
    return reply;
  }

  #run(
    call: Call,
    target: Target,
    refusal: KinesisError | undefined,
    request: ServiceRequest,
  ): Answer | Subscription {
    const identity = this.credentials && authenticate(request, this.credentials);
    if (refusal) throw refusal;
    if (identity) {
      const arn = target.streamName === undefined ? "*" : this.account.arn(target.streamName);
      authorize(identity, call.name, this.account.options.accountId, arn);
    }
    const answer = call.operation.run(call.input, this.account);
    if (answer instanceof EncodedAnswer || answer instanceof Subscription) return answer;
    return { chunks: answer === undefined ? [] : [Buffer.from(JSON.stringify(answer))] };
  }

  // What a fault makes of a call. @throws KinesisError for a fault that is an error
  #suffer(fault: Fault, call: Call): ServiceReply {
    if (fault.error !== undefined) throw errorOf(fault, fault.error);
    if (fault.expireIterator) throw this.#expired(call);
    return { kind: fault.drop ? "drop" : fault.refuse ? "refuse" : "hang" };
  }

  #stream(subscription: Subscription, fault: Fault | undefined, end: EndRequest): ServiceReply {
    const { clock } = this.account.options;
    const body = fault ? new FaultyBody(subscription, fault, clock) : subscription;
    return {
      kind: "stream",
      status: 200,
      headers: this.#headers(EVENT_STREAM),
      body: new LoggedBody(body, subscription, end),
    };
  }

  #expired(call: Call): KinesisError {
    const { createdAt } = readIterator(this.account, String(call.input.ShardIterator));
    return expiredIterator(createdAt, this.account.now(), this.account.options.iteratorLifeMs);
  }

  #refuse(error: KinesisError): ServiceReply {
    const body = JSON.stringify({ __type: error.name, message: error.message });
    return this.#answer(error.status, [Buffer.from(body)]);
  }

  #answer(status: number, chunks: readonly Uint8Array[]): ServiceReply {
    return {
      kind: "answer",
      status,
      headers: { ...this.#headers(JSON_1_1), "content-length": String(length(chunks)) },
      chunks,
    };
  }

  #headers(type: string): Record<string, string> {
    return {
      "content-type": type,
      // Clients take the service's time from here.
      date: new Date(this.account.now()).toUTCString(),
      "x-amzn-requestid": randomUUID(),
    };
  }
}

interface Call {
  readonly name: string;
  readonly operation: Operation;
  readonly input: Readonly<Record<string, unknown>>;
}

function readCall(request: ServiceRequest): Call | KinesisError {
  const { headers } = request;
  const target = headers["x-amz-target"] ?? "";
  const name = target.startsWith(TARGET_PREFIX) ? target.slice(TARGET_PREFIX.length) : "";
  const operation = operationNamed(name);
  if (request.method !== "POST" || !operation) {
    return new KinesisError(
      "UnknownOperationException",
      `the local Kinesis server has no operation "${target}" (${request.method})`,
    );
  }
  const type = (headers["content-type"] ?? "").split(";")[0]!.trim();
  if (type !== JSON_1_1) {
    return new KinesisError(
      "SerializationException",
      `the local Kinesis server speaks ${JSON_1_1}, the request is in "${type}"`,
    );
  }
  try {
    const input: unknown = JSON.parse(Buffer.from(request.body).toString());
    if (typeof input === "object" && input !== null && !Array.isArray(input)) {
      return { name, operation, input: input as Record<string, unknown> };
    }
  } catch {
    // said below: AWS does not tell where the text is wrong either
  }
  return new KinesisError("SerializationException", "the request's body is no JSON object");
}

interface Inspection {
  readonly target: Target;
  /** Why the request will be refused, once its sender is known. */
  readonly refusal?: KinesisError | undefined;
}

function inspect(call: Call, account: Account): Inspection {
  try {
    validate(call.input, call.operation.shape);
    return { target: call.operation.target(call.input, account) };
  } catch (error) {
    if (error instanceof KinesisError) return { target: {}, refusal: error };
    throw error;
  }
}

function hasEffect(fault: Fault): boolean {
  return Boolean(
    fault.error !== undefined || fault.drop || fault.refuse || fault.hang || fault.expireIterator,
  );
}

// Faults of an event stream hit it while it goes on, not the call that opens it.
function hitsStream(fault: Fault): boolean {
  return STREAM_FAULTS.some((name) => fault[name] !== undefined);
}

function errorOf(fault: Fault, name: string): KinesisError {
  const status = fault.status ??
    (/^(InternalFailure|InternalServer|ServiceUnavailable)/.test(name) ? 500 : 400);
  return new KinesisError(name, fault.message ?? `${name} (injected)`, status);
}

function length(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0);
}
