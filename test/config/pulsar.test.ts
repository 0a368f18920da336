import assert from "node:assert/strict";
import { test } from "node:test";
import { join } from "node:path";
import { parseConfig, redact } from "../../src/config/mod.ts";
import { parse, problems, small } from "./kit.ts";

const pulsar = (extra: Record<string, unknown>) => ({ ...small, pulsar: { ...small.pulsar, ...extra } });

test("config pulsar: a short topic means persistent://public/default", () => {
  const topics: [string, string][] = [
    ["orders", "persistent://public/default/orders"],
    ["acme/prod/orders", "persistent://acme/prod/orders"],
    ["persistent://acme/prod/orders", "persistent://acme/prod/orders"],
    ["non-persistent://acme/prod/orders", "non-persistent://acme/prod/orders"],
  ];
  for (const [topic, full] of topics) assert.equal(parse(pulsar({ topic })).pulsar.topic, full);
  for (const topic of ["a/b", "kafka://a/b/c", "a b", "persistent://a/b", "/a"]) {
    assert.match(problems(pulsar({ topic }))[0]!, /^pulsar\.topic = .*must be a topic like "orders"/, topic);
  }
  assert.deepEqual(parse({ ...small, deadLetter: { topic: "dead" } }).deadLetter, {
    topic: "persistent://public/default/dead",
  });
});

test("config pulsar: service URLs have hosts and ports", () => {
  for (
    const serviceUrl of ["pulsar://h", "pulsar://a:6650,b:6650", "pulsar+ssl://h:6651", "pulsar://[::1]:6650"]
  ) {
    assert.equal(parse(pulsar({ serviceUrl })).pulsar.serviceUrl, serviceUrl);
  }
  assert.equal(parse(pulsar({ serviceUrl: "pulsar://h:6650/" })).pulsar.serviceUrl, "pulsar://h:6650");
  for (const serviceUrl of ["http://h:8080", "h:6650", "pulsar://", "pulsar://h/x", "pulsar://a, b"]) {
    assert.match(
      problems(pulsar({ serviceUrl }))[0]!,
      /^pulsar\.serviceUrl = .*must be a URL like "pulsar:/,
      serviceUrl,
    );
  }
  for (const serviceUrl of ["pulsar://h:0", "pulsar://h:99999", "pulsar://a:1,b:x"]) {
    assert.match(
      problems(pulsar({ serviceUrl }))[0]!,
      /must be a host, with a port of 1 to 65535/,
      serviceUrl,
    );
  }
  const [line] = problems(pulsar({ serviceUrl: "pulsar://me:HUSH@h" }));
  assert.ok(!line!.includes("HUSH"), line);
});

test("config pulsar: each type of authentication has its keys", () => {
  const good = [
    { type: "none" },
    { type: "token", token: "t" },
    { type: "token", file: "t" },
    { type: "token", env: "T" },
    { type: "token", script: "./t.mts" },
    { type: "oauth2", issuerUrl: "https://i", clientId: "c", clientSecret: "s", audience: "a", scope: "x" },
    { type: "oauth2", issuerUrl: "https://i", keyFile: "k.json" },
    { type: "basic", user: "u", password: "p" },
    { type: "tls", certFile: "c", keyFile: "k" },
  ];
  const serviceUrl = "pulsar+ssl://h";
  for (const auth of good) assert.equal(parse(pulsar({ serviceUrl, auth })).pulsar.auth.type, auth.type);
  const bad: [unknown, RegExp][] = [
    [{ type: "token" }, /^pulsar\.auth has no token: give exactly one of token, file, env and script/],
    [{ type: "token", token: "HUSH", env: "E" }, /^pulsar\.auth has several sources of a token/],
    [
      { type: "oauth2", issuerUrl: "https://i", clientId: "c" },
      /^pulsar\.auth needs clientId and clientSecret, or keyFile/,
    ],
    [{ type: "oauth2", keyFile: "c" }, /^pulsar\.auth\.issuerUrl is missing/],
    [
      { type: "oauth2", issuerUrl: "https://me:HUSH@i", keyFile: "c" },
      /^pulsar\.auth\.issuerUrl = .*must be a URL like/,
    ],
    [{ type: "token", token: "file:///run/HUSH" }, /^pulsar\.auth\.token is no token but a place/],
    [{ type: "basic", user: "a:b", password: "HUSH" }, /^pulsar\.auth\.user must not hold a colon/],
    [
      { type: "tls", certFile: "c", keyFile: "k" },
      /shows a certificate, but pulsar\.serviceUrl is not encrypted/,
    ],
    [{ type: "basic", user: "u" }, /^pulsar\.auth\.password is missing/],
    [{ type: "basic", user: "u", password: 5 }, /^pulsar\.auth\.password = \(hidden\): must be text/],
    [{}, /^pulsar\.auth\.type is missing: it must be "none", "token", "oauth2", "basic" or "tls"/],
    ["token:HUSH", /^pulsar\.auth = \(hidden\): must be a table of keys/],
  ];
  for (const [auth, wanted] of bad) {
    const text = problems(pulsar({ auth })).join("\n");
    assert.match(text, wanted);
    assert.ok(!text.includes("HUSH"), text);
  }
});

test("config pulsar: files are found beside the configuration file", () => {
  const input = pulsar({
    serviceUrl: "pulsar+ssl://h",
    auth: { type: "tls", certFile: "c.pem", keyFile: "../k.pem" },
    tls: { caFile: "/etc/ca.pem" },
  });
  const config = parseConfig(input, { env: {}, source: "/etc/kp/c.toml" });
  assert.deepEqual(config.pulsar.auth, { type: "tls", certFile: "/etc/kp/c.pem", keyFile: "/etc/k.pem" });
  assert.deepEqual(config.pulsar.tls, { caFile: "/etc/ca.pem", verifyHostname: true });
});

test("config pulsar: a key file inside of the configuration is no path and is shown nowhere", () => {
  const keyFile = "data:application/json,%7B%22client_secret%22%3A%22HUSH%22%7D";
  const config = parse(pulsar({ auth: { type: "oauth2", issuerUrl: "https://i", keyFile } }));
  assert.deepEqual(config.pulsar.auth, { type: "oauth2", issuerUrl: "https://i", keyFile });
  assert.doesNotMatch(JSON.stringify(redact(config)), /HUSH/);
  const [line] = problems(pulsar({ auth: { type: "tls", certFile: 1, keyFile } }));
  assert.doesNotMatch(line!, /HUSH/);
});

test("config pulsar: a client's certificate is given once", () => {
  const auth = { type: "tls", certFile: "c", keyFile: "k" };
  const tls = { certFile: "c", keyFile: "k" };
  assert.match(
    problems(pulsar({ serviceUrl: "pulsar+ssl://h", auth, tls }))[0]!,
    /^pulsar\.auth of type "tls" and pulsar\.tls\.certFile both give a certificate/,
  );
});

test("config pulsar: tls needs an encrypted URL, and certificate and key together", () => {
  assert.match(
    problems(pulsar({ tls: {} }))[0]!,
    /^pulsar\.tls is given, but pulsar\.serviceUrl is not encrypted/,
  );
  const tls = { certFile: "c" };
  assert.match(
    problems(pulsar({ serviceUrl: "pulsar+ssl://h", tls }))[0]!,
    /needs certFile and keyFile together/,
  );
});

test("config pulsar: what the driver pulsar-client cannot do is refused by name", () => {
  const native = (extra: Record<string, unknown>) => pulsar({ driver: "pulsar-client", ...extra });
  assert.equal(parse(native({ hashingScheme: "Murmur3_32Hash" })).pulsar.driver, "pulsar-client");
  const cases: [Record<string, unknown>, string][] = [
    [{ delivery: "effectively-once" }, 'pulsar.delivery = "effectively-once"'],
    [{ hashingScheme: "JavaStringHash" }, 'pulsar.hashingScheme = "JavaStringHash"'],
    [{ serviceUrl: "pulsar://[::1]:6650" }, "pulsar.serviceUrl with an IPv6 address"],
  ];
  for (const [extra, what] of cases) {
    const [line] = problems(native(extra));
    assert.ok(line!.startsWith(`${what} cannot work with pulsar.driver = "pulsar-client"`), line);
    assert.match(line!, /or use pulsar\.driver = "builtin"$/);
  }
});

test("config pulsar: effectively-once is refused with the memory store, pulsar-client and non-persistent topics", () => {
  const once = { delivery: "effectively-once" };
  assert.equal(parse(pulsar(once)).pulsar.delivery, "effectively-once");
  assert.match(
    problems({ ...pulsar(once), leases: { store: "memory" } })[0]!,
    /cannot work with leases\.store = "memory"/,
  );
  assert.match(
    problems(pulsar({ ...once, driver: "pulsar-client" }))[0]!,
    /cannot work with pulsar\.driver = "pulsar-client"/,
  );
  assert.match(
    problems(pulsar({ ...once, topic: "non-persistent://a/b/c" }))[0]!,
    /needs a persistent topic/,
  );
});

test("config pulsar: hooks have their defaults, and paths beside the configuration file", () => {
  const input = { ...small, hooks: [{ path: "./hooks/a.mts" }, { path: "builtin:filter", onError: "skip" }] };
  const { hooks } = parseConfig(input, { env: {}, source: join("/etc", "kp", "c.toml") });
  assert.deepEqual(hooks, [
    {
      path: "/etc/kp/hooks/a.mts",
      options: {},
      onError: "stop",
      retries: 0,
      timeoutMs: 30_000,
      concurrency: 16,
    },
    { path: "builtin:filter", options: {}, onError: "skip", retries: 0, timeoutMs: 30_000, concurrency: 16 },
  ]);
  const dead = parse({ ...small, hooks: [{ path: "./a.mts" }], deadLetter: { topic: "dead" } });
  assert.equal(dead.hooks[0]!.onError, "dead-letter");
  assert.deepEqual(problems({ ...small, hooks: [{ path: "./a.mts", onError: "dead-letter" }] }), [
    'hooks[0].onError = "dead-letter" needs a deadLetter.topic',
  ]);
});

test("config pulsar: the dead-letter topic is another one than pulsar.topic, and persistent to be exact", () => {
  const same = [
    "orders",
    "public/default/orders",
    "persistent://public/default/orders",
    "orders-partition-1",
  ];
  for (const topic of same) {
    assert.deepEqual(problems({ ...small, deadLetter: { topic } }), [
      "deadLetter.topic is pulsar.topic itself: records that cannot be published need another topic",
    ]);
  }
  const deadLetter = { topic: "non-persistent://public/default/dead" };
  assert.match(parse({ ...small, deadLetter }).warnings.join(), /deadLetter\.topic is not persistent/);
  assert.deepEqual(problems({ ...pulsar({ delivery: "effectively-once" }), deadLetter }), [
    'deadLetter.topic must be persistent with pulsar.delivery = "effectively-once"',
  ]);
});
