// Kinesis' clock.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ServiceClock } from "../../src/kinesis/service-clock.ts";
import { FakeClock } from "../fakes.ts";
import { apiOn } from "./transport.ts";

test("kinesis clock: goes on from the last answer's date, rounded down to the second", async () => {
  const clock = new FakeClock({ now: Date.UTC(2030, 0, 1) });
  const service = new ServiceClock(clock);
  assert.equal(service.now(), Date.UTC(2030, 0, 1), "the machine's, before the first answer");
  service.observe("Thu, 01 Jan 2026 12:00:00 GMT");
  await clock.advance(2999);
  assert.equal(service.now(), Date.UTC(2026, 0, 1, 12, 0, 2));
  service.observe("Thu, 01 Jan 2026 12:00:09 GMT");
  assert.equal(service.now(), Date.UTC(2026, 0, 1, 12, 0, 9));
  for (const header of [undefined, "", "yesterday"]) service.observe(header);
  assert.equal(service.now(), Date.UTC(2026, 0, 1, 12, 0, 9), "an answer without a date changes nothing");
});

test("kinesis clock: is set by every answer, refusals included", async (t) => {
  const dates = ["Thu, 01 Jan 2026 12:00:00 GMT", "Thu, 01 Jan 2026 13:00:00 GMT"];
  const api = await apiOn(
    t,
    () => ({
      status: dates.length === 2 ? 200 : 400,
      headers: { date: dates.shift()! },
      body: '{"Records":[]}',
    }),
    new FakeClock(),
  );
  const read = () => api.getRecords("s", "i", 1, new AbortController().signal);
  await read();
  assert.equal(api.now(), Date.UTC(2026, 0, 1, 12));
  await assert.rejects(read());
  assert.equal(api.now(), Date.UTC(2026, 0, 1, 13));
});
