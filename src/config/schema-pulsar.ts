// The [pulsar] table: where and how messages are published.

import * as v from "valibot";
import { choice, flag, integer, milliseconds, secret, text } from "./fields.ts";

const auth = v.pipe(
  v.variant("type", [
    v.strictObject({ type: v.literal("none") }),
    v.strictObject({
      type: v.literal("token"),
      token: v.optional(secret("The token itself; better `${PULSAR_TOKEN}` than in the file.")),
      file: v.optional(text("A file that holds the token; it is read again for each connection.")),
      env: v.optional(text("An environment variable that holds the token.")),
      script: v.optional(text("A script whose default export is the token, or a function that gives it.")),
    }),
    v.strictObject({
      type: v.literal("oauth2"),
      issuerUrl: text(
        "The issuer's URL; `/.well-known/openid-configuration` below it says where tokens are.",
        {
          allowed: 'a URL like "https://issuer.example.com"',
          pattern: /^https?:\/\/[^\s@]+$/,
        },
      ),
      clientId: v.optional(text("The client's id, with `clientSecret`.")),
      clientSecret: v.optional(secret("The client's secret.")),
      keyFile: v.optional(text(
        "A JSON key file with `client_id` and `client_secret`, instead of both: a path, or a `file:` or `data:` URL.",
      )),
      audience: v.optional(text("The audience to ask for.")),
      scope: v.optional(text("The scope to ask for.")),
    }),
    v.strictObject({
      type: v.literal("basic"),
      user: text("The user's name."),
      password: secret("The user's password."),
    }),
    v.strictObject({
      type: v.literal("tls"),
      certFile: text("The client's certificate (PEM)."),
      keyFile: text("The client's private key (PEM)."),
    }),
  ]),
  v.description("How the connector proves who it is. `type` chooses; each type has its own keys."),
);

const tls = v.pipe(
  v.strictObject({
    caFile: v.optional(text("Certificates to trust (PEM).", { otherwise: "those that the runtime trusts" })),
    certFile: v.optional(text("The client's certificate (PEM).")),
    keyFile: v.optional(text("The client's private key (PEM).")),
    verifyHostname: v.optional(
      flag("Whether the broker's certificate must carry its host name; its chain is always checked."),
      true,
    ),
  }),
  v.description("Encryption of the connection, for `pulsar+ssl://`."),
);

export const pulsarTable = v.pipe(
  v.strictObject({
    serviceUrl: v.optional(
      text("Where Pulsar is: `pulsar://host:6650`; several hosts are separated by commas. Required.", {
        allowed: 'a URL like "pulsar://host:6650" or "pulsar+ssl://host1:6651,host2:6651"',
        pattern: /^pulsar(\+ssl)?:\/\/[^/?#@\s,]+(,[^/?#@\s,]+)*\/?$/,
      }),
    ),
    topic: v.optional(
      text(
        "The topic that messages go to; hooks may choose others. A short name means " +
          "`persistent://public/default/…`. Required, or `topicName` of a Pulsar IO file.",
        {
          allowed:
            'a topic like "orders", "tenant/namespace/orders" or "persistent://tenant/namespace/orders"',
        },
      ),
    ),
    auth: v.optional(auth, { type: "none" }),
    tls: v.optional(tls),
    delivery: v.optional(
      choice(
        ["at-least-once", "effectively-once"],
        "`effectively-once` leaves no duplicates in the topic after a crash; it needs broker deduplication.",
      ),
      "at-least-once",
    ),
    driver: v.optional(
      choice(["builtin", "pulsar-client"], "Our own producer, or the official client (a peer dependency)."),
      "builtin",
    ),
    compression: v.optional(
      choice(["none", "lz4", "zlib", "zstd", "snappy"], "Compression of the batches."),
      "none",
    ),
    eventTime: v.optional(
      choice(
        ["arrival", "none"],
        "A message's event time: when its record arrived in Kinesis, or none (as the Java connector).",
      ),
      "arrival",
    ),
    hashingScheme: v.optional(
      choice(
        ["Murmur3_32Hash", "JavaStringHash"],
        "How a key chooses its partition; must be that of other producers of the topic.",
      ),
      "Murmur3_32Hash",
    ),
    chunking: v.optional(flag("Whether messages larger than the broker takes are sent in chunks."), true),
    maxPendingMessages: v.optional(
      integer("Messages on their way to Pulsar at most, over all topics.", { min: 1 }),
      10_000,
    ),
    batchMaxMessages: v.optional(
      integer("Messages in a batch at most; 1 = no batching.", { min: 1, max: 1_000_000 }),
      1000,
    ),
    batchMaxBytes: v.optional(
      integer("Bytes in a batch at most, before compression.", { min: 1, max: 1_073_741_824 }),
      131_072,
    ),
    batchMaxDelayMs: v.optional(
      milliseconds("How long a batch waits for more messages, in milliseconds."),
      10,
    ),
    batchBuilder: v.optional(
      choice(
        ["default", "key-based"],
        "`key-based`: a batch holds one key only, as `Key_Shared` consumers need; order then holds per key.",
      ),
      "default",
    ),
    listenerName: v.optional(text("The advertised listener to ask brokers for.")),
    maxProducers: v.optional(
      integer("Topics (partitions) that are open at the same time at most.", { min: 1 }),
      1000,
    ),
  }),
  v.description("Where and how messages are published."),
);
