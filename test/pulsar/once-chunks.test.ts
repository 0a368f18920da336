// Effectively once, a message in chunks: all of it goes out though nothing follows it, on a topic that is proved and on
// one that is not.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { startLocalBroker } from "../../src/local/mod.ts";
import { OnceDelivery } from "./once-harness.ts";
import { NEVER, openSink, until } from "./sink-harness.ts";

for (const before of [0, 1]) {
  test(`pulsar once: a message in three chunks that nothing follows goes out whole, behind ${before} others`, async (t) => {
    const broker = await startLocalBroker({ deduplication: true, maxMessageSize: 20_000 });
    t.after(() => broker.close());
    const { sink } = openSink(t, broker.url, { delivery: "effectively-once" });
    const delivery = new OnceDelivery("name");
    const sizes = [...Array.from({ length: before }, () => 10), 50_000];
    for (const [ordinal, size] of sizes.entries()) {
      sink.reserve(1, NEVER);
      sink.send({ topic: "t", key: "k", data: Buffer.alloc(size, 1) }, delivery, ordinal, ordinal * 1024);
      await until(() => sink.pending === 0, `the receipt of message ${ordinal}`);
    }
    assert.deepEqual(broker.messages("t").map(({ data }) => data.length), sizes);
  });
}
