// Service URLs, topic names and partition hashes.

import { test } from "node:test";
import assert from "node:assert/strict";
import { javaStringHash, murmur3, partitionOf } from "../../src/pulsar/routing.ts";
import { addressText, parseServiceUrl } from "../../src/pulsar/service-url.ts";
import { fullTopicName, partitionName } from "../../src/pulsar/topic-name.ts";

test("pulsar names: service URLs with several hosts, ports, IPv6 and TLS", () => {
  const parsed = (url: string): string[] =>
    parseServiceUrl(url).map((address) => `${address.tls} ${addressText(address)}`);
  assert.deepEqual(parsed("pulsar://h1:6650,h2"), ["false h1:6650", "false h2:6650"]);
  assert.deepEqual(parsed("pulsar+ssl://a,[::1],[fe80::1%eth0]:7/"), [
    "true a:6651",
    "true [::1]:6651",
    "true [fe80::1%eth0]:7",
  ]);
  assert.deepEqual(parsed(" pulsar://127.0.0.1:6650/ignored "), ["false 127.0.0.1:6650"]);
});

test("pulsar names: a service URL that cannot be used says why", () => {
  const refused = (url: string, words: RegExp): void =>
    assert.throws(() => parseServiceUrl(url), { code: "CONFIG_INVALID", message: words });
  refused("localhost:6650", /has to start with pulsar:\/\//);
  refused("http://localhost:8080", /lookup over HTTP is not supported/);
  refused("pulsar://", /"" is no host/);
  refused("pulsar://a:b", /"a:b" is no host, host:port/);
  refused("pulsar://a:0", /"a:0"/);
  refused("pulsar://a:70000", /"a:70000"/);
  refused("pulsar://::1:6650", /\[IPv6\]:port/);
  assert.throws(
    () => parseServiceUrl("pulsar://user:hunter2@host"),
    (error: Error) => !error.message.includes("hunter2"),
  );
});

test("pulsar names: topics short and in full", () => {
  assert.equal(fullTopicName("orders"), "persistent://public/default/orders");
  assert.equal(fullTopicName("t/ns/orders"), "persistent://t/ns/orders");
  for (const full of ["persistent://t/ns/a/b c", "non-persistent://t/ns/x", "persistent://t/cluster/ns/x"]) {
    assert.equal(fullTopicName(full), full);
  }
  assert.equal(partitionName("persistent://t/ns/x", 3), "persistent://t/ns/x-partition-3");
});

test("pulsar names: what can be no topic is refused with the name", () => {
  for (
    const name of [
      "",
      "a/b",
      "a/b/c/d",
      "http://x",
      "persistent://t/ns",
      "t//x",
      "t/ns/",
      "t ä/ns/x",
      "persistent://t/ns/",
    ]
  ) {
    assert.throws(() => fullTopicName(name), { code: "PULSAR_REFUSED" }, name);
  }
  assert.throws(() => fullTopicName("x/".repeat(1000)), (error: Error) => error.message.length < 500);
});

test("pulsar names: Java's two hashes", () => {
  const vectors: [key: string, java: number, murmur: number][] = [
    ["key1", 3288498, 462881061],
    ["key2", 3288499, 1936800180],
    ["key3", 3288500, 642313048],
    ["customer-00012345", 32186642, 640035355],
    ["naïve-ключ", 866434044, 1293938710],
    ["", 0, 0],
  ];
  for (const [key, java, murmur] of vectors) {
    assert.equal(javaStringHash(key), java, key);
    assert.equal(murmur3(key), murmur, key);
  }
  assert.equal(partitionOf("key1", 7, "Murmur3_32Hash"), 462881061 % 7);
  assert.equal(partitionOf("key1", 7, "JavaStringHash"), 3288498 % 7);
  assert.ok(murmur3("é".repeat(5000)) >= 0, "longer than the scratch buffer");
});
