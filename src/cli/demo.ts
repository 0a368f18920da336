// `kinesis-pulsar demo`: the whole road on one machine, without AWS, Pulsar or a file. It succeeds only if every
// order that was put into the stream, and that the hook did not drop, was read back from the topic.

import { randomBytes } from "node:crypto";
import process from "node:process";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Hooks } from "../hooks/types.ts";
import type { LocalBroker, LocalKinesis, TopicReader } from "../local/mod.ts";
import { systemClock } from "../runtime.ts";
import { DEMO_HOOK, OrderBook } from "./demo-orders.ts";
import { type DemoCheckpoint, DemoScreen } from "./demo-screen.ts";
import { EXIT } from "./errors.ts";

const STREAM = "orders";
const TOPIC = "persistent://public/default/kinesis-pulsar-demo";
const SHARDS = 3;
/** Up to three orders so often: about 40 a second. */
const PUT_EVERY_MS = 50;
const DELIVERY_TIMEOUT_MS = 10_000;

/** What `demo` takes. */
export interface DemoOptions {
  /** Service URL of a real broker. @default a local stand-in */
  readonly pulsar?: string;
  /** @default 20 */
  readonly seconds?: number;
}

/** What the demo needs of a connector. */
export interface DemoConnector {
  start(): Promise<unknown>;
  stop(reason?: string): Promise<unknown>;
  /** Resolves when it has ended; never rejects. */
  readonly finished: Promise<{ readonly error?: Error | undefined; readonly undrained: readonly string[] }>;
  /** Where it answers over HTTP. */
  readonly httpUrl?: string | undefined;
  status(): { readonly millisBehindLatest: number | undefined };
  on(event: "checkpoint", listener: (event: DemoCheckpoint) => void): unknown;
}

/** What the demo does not make itself; given by tests. */
export interface DemoParts {
  readonly print?: (line: string) => void;
  /** How long orders may take to arrive after the last one was put. @default 10000 */
  readonly deliveryTimeoutMs?: number;
  readonly createConnector?: (
    config: Record<string, unknown>,
    options: { readonly hooks: readonly Hooks[]; readonly log: Logger },
  ) => DemoConnector;
}

/** Runs the demo; gives the exit code: 0 only if orders arrived and none is missing. */
export async function demo(options: DemoOptions = {}, parts: DemoParts = {}): Promise<number> {
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  process.once("SIGINT", stop); // a second one ends the process at once
  process.once("SIGTERM", stop);
  try {
    return await new Demo(options, parts, stopped).run();
  } finally {
    process.removeListener("SIGINT", stop);
    process.removeListener("SIGTERM", stop);
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #parts: DemoParts;
  readonly #stopped: AbortController;
  readonly #book = new OrderBook(randomBytes(3).toString("hex"), systemClock.random);
  readonly #screen: DemoScreen;
  readonly #startedAt = systemClock.monotonic();
  readonly #closers: (() => unknown)[] = [];
  #firstAfterMs: number | undefined;
  #failure: unknown;

  constructor(options: DemoOptions, parts: DemoParts, stopped: AbortController) {
    this.#options = options;
    this.#parts = parts;
    this.#stopped = stopped;
    this.#screen = new DemoScreen(parts.print ?? ((line) => process.stdout.write(`${line}\n`)), this.#book);
  }

  async run(): Promise<number> {
    const seconds = this.#options.seconds ?? 20;
    try {
      await this.#play(seconds);
    } catch (error) {
      this.#failure ??= error;
    }
    for (const close of this.#closers.reverse()) {
      try {
        await close();
      } catch (error) {
        this.#failure ??= error;
      }
    }
    const { delivered, missing } = this.#book;
    const reason = this.#failure !== undefined
      ? messageOf(this.#failure)
      : delivered === 0
      ? "no order arrived"
      : missing > 0
      ? `${missing} orders did not arrive within ${this.#deliveryTimeoutMs / 1000} s`
      : undefined;
    this.#screen.summary(this.#elapsedMs(), this.#firstAfterMs, reason);
    return reason === undefined ? EXIT.done : EXIT.failed;
  }

  async #play(seconds: number): Promise<void> {
    const { startLocalKinesis, startLocalBroker, openTopicReader } = await import("../local/mod.ts");
    const kinesis: LocalKinesis = await startLocalKinesis();
    this.#closers.push(() => kinesis.close());
    kinesis.createStream(STREAM, { shards: SHARDS });
    let broker: LocalBroker | undefined;
    if (this.#options.pulsar === undefined) {
      broker = await startLocalBroker();
      this.#closers.push(() => broker?.close());
    }
    const serviceUrl = broker?.url ?? this.#options.pulsar!;
    this.#screen.intro({
      kinesisUrl: kinesis.url,
      streamName: STREAM,
      shards: SHARDS,
      pulsarUrl: serviceUrl,
      ownBroker: broker !== undefined,
      topic: TOPIC,
    }, seconds);
    // on a real broker the topic may hold what an earlier demo left
    const reader = await openTopicReader({ serviceUrl, topic: TOPIC, from: "latest" });
    this.#closers.push(() => reader.close());
    this.#read(reader);
    const stopPutting = this.#putOrders(kinesis);
    this.#closers.push(stopPutting);

    const connector = await this.#connect(kinesis.url, serviceUrl);
    connector.on("checkpoint", (event) => this.#screen.checkpoint(event));
    let started = false;
    let stopping = false;
    const stop = async () => {
      if (stopping) return;
      stopping = true;
      await connector.stop("stop");
      const { undrained } = await connector.finished;
      if (undrained.length > 0) throw new Error(`the connector could not finish ${undrained.join(", ")}`);
    };
    this.#closers.push(stop);
    void connector.finished.then(({ error }) => {
      if (error) this.#fail(error);
      else if (started && !stopping) this.#fail(new Error("the connector ended by itself"));
    });
    await connector.start();
    started = true;
    if (connector.httpUrl !== undefined) {
      this.#screen.note(`metrics at ${connector.httpUrl}/metrics, and /livez, /readyz, /status`);
    }

    for (let second = 1; second <= seconds && !this.#ended; second++) {
      await systemClock.sleep(this.#startOfSecond(second), this.#stopped.signal);
      this.#screen.second(Math.round(this.#elapsedMs() / 1000), connector.status().millisBehindLatest);
    }
    stopPutting();
    await this.#allDelivered();
    await stop();
  }

  #connect(kinesisUrl: string, serviceUrl: string): Promise<DemoConnector> {
    const config = {
      awsKinesisStreamName: STREAM,
      awsRegion: "us-east-1",
      awsEndpoint: kinesisUrl,
      awsCredentialPluginParam: JSON.stringify({ accessKey: "demo", secretKey: "demo" }),
      applicationName: "kinesis-pulsar-demo",
      initialPositionInStream: "TRIM_HORIZON",
      useEnhancedFanOut: false,
      checkpointInterval: 2000,
      leases: { store: "memory" },
      metrics: { cloudwatch: "none" },
      http: { port: 0 },
      pulsar: { serviceUrl, topic: TOPIC },
    };
    return this.#load(config);
  }

  async #load(config: Record<string, unknown>): Promise<DemoConnector> {
    // loaded from its text, so that what is shown is what runs
    const module = await import(`data:text/javascript,${encodeURIComponent(DEMO_HOOK)}`);
    const options = { hooks: [module.default as Hooks], log: this.#log() };
    const create = this.#parts.createConnector ?? (await import("../create-connector.ts")).createConnector;
    return create(config, options);
  }

  /** Puts orders until the returned function is called. */
  #putOrders(kinesis: LocalKinesis): () => void {
    const put = () => {
      const count = 1 + Math.floor(systemClock.random() * 3);
      kinesis.putRecords(
        STREAM,
        Array.from({ length: count }, () => {
          const order = this.#book.next();
          return { data: JSON.stringify(order), partitionKey: order.id };
        }),
      );
    };
    put();
    const timer = setInterval(put, PUT_EVERY_MS);
    return () => clearInterval(timer);
  }

  #read(reader: TopicReader): void {
    const read = async () => {
      for await (const message of reader) {
        if (!this.#book.arrived(orderId(message.data.toString()))) continue;
        this.#firstAfterMs ??= this.#elapsedMs();
        this.#screen.arrival(message);
      }
    };
    read().catch((error) => this.#fail(error));
  }

  async #allDelivered(): Promise<void> {
    const until = systemClock.monotonic() + this.#deliveryTimeoutMs;
    while (this.#book.missing > 0 && this.#failure === undefined && systemClock.monotonic() < until) {
      await systemClock.sleep(20);
    }
  }

  get #deliveryTimeoutMs(): number {
    return this.#parts.deliveryTimeoutMs ?? DELIVERY_TIMEOUT_MS;
  }

  get #ended(): boolean {
    return this.#stopped.signal.aborted;
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#stopped.abort();
  }

  #elapsedMs(): number {
    return systemClock.monotonic() - this.#startedAt;
  }

  #startOfSecond(second: number): number {
    return Math.max(0, second * 1000 - this.#elapsedMs());
  }

  /** Only what the user should know; what ends the connector is told by the summary. */
  #log(): Logger {
    return { debug() {}, info() {}, warn: (message) => this.#screen.note(message), error() {} };
  }
}

function orderId(text: string): string {
  try {
    return String((JSON.parse(text) as { id?: unknown }).id);
  } catch {
    return ""; // somebody else's message in a topic of a real broker
  }
}
