import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectorError } from "../../src/core/errors.ts";
import { listNotYet, loadConfigFile, refuseNotYet } from "../../src/config/mod.ts";
import { parse, small, write } from "./kit.ts";

const pulsar = (extra: Record<string, unknown>) => ({ ...small, pulsar: { ...small.pulsar, ...extra } });

test("config not yet: each option of later versions is refused by name", () => {
  const options: [Record<string, unknown>, string][] = [
    [{ ...small, leases: { store: "file" } }, 'leases.store = "file"'],
  ];
  for (const [input, what] of options) {
    assert.throws(() => refuseNotYet(parse(input)), {
      code: "NOT_YET",
      message: `${what}: not yet in this version`,
    });
  }
});

test("config not yet: what this version does is not refused", () => {
  const input = {
    ...pulsar({
      delivery: "effectively-once",
      chunking: true,
      hashingScheme: "JavaStringHash",
      eventTime: "none",
      compression: "zstd",
    }),
    useEnhancedFanOut: true,
    metrics: { cloudwatch: "detailed" },
    http: {},
    kinesis: {
      consumerArn: "arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/me:1",
      http2: true,
    },
    hooks: [{ path: "./a.mts", onError: "skip" }, { path: "./b.mts", onError: "dead-letter" }],
    deadLetter: { topic: "d" },
  };
  assert.deepEqual(listNotYet(parse(input)), []);
  assert.deepEqual(listNotYet(parse({ ...small, leases: { store: "memory" } })), []);
  assert.deepEqual(listNotYet(parse(small)), []);
  assert.deepEqual(listNotYet(parse(pulsar({ driver: "pulsar-client" }))), []);
});

test("config not yet: with line and column", async (t) => {
  const path = await write(
    t,
    "c.toml",
    'awsKinesisStreamName = "s"\nawsRegion = "eu-west-1"\n[pulsar]\nserviceUrl = "pulsar://h"\ntopic = "t"\n' +
      '[leases]\nstore = "file"\n',
  );
  const config = await loadConfigFile(path, {});
  try {
    refuseNotYet(config);
    assert.fail("accepted");
  } catch (error) {
    assert.ok(error instanceof ConnectorError);
    assert.equal(error.code, "NOT_YET");
    assert.equal(error.message, `${path}:7:1: leases.store = "file": not yet in this version`);
  }
});
