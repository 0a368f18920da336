// Sharing and renewal of credentials, in fake time.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Credentials } from "../../src/aws/credentials.ts";
import { shareCredentials } from "../../src/aws/shared-credentials.ts";
import { ConnectorError } from "../../src/core/errors.ts";
import { FakeClock, RecordingLogger, settle } from "../fakes.ts";
import { rejection } from "./kit.ts";

const MINUTE = 60_000;

/** A source whose n-th answer (from 1) is named `n`; what it does next can be changed. */
class Source {
  readonly clock = new FakeClock();
  readonly log = new RecordingLogger();
  fetches = 0;
  lifetimeMs: number | undefined = 60 * MINUTE;
  fault: Error | undefined;
  hangs = false;
  readonly provider = shareCredentials(() => this.#fetch(), {
    clock: this.clock,
    log: this.log,
    source: "the test",
  });

  async now(): Promise<string> {
    return (await this.provider()).accessKeyId;
  }

  #fetch(): Promise<Credentials> {
    this.fetches++;
    if (this.hangs) return new Promise(() => {});
    if (this.fault !== undefined) return Promise.reject(this.fault);
    return Promise.resolve({
      accessKeyId: String(this.fetches),
      secretAccessKey: "secret",
      ...this.lifetimeMs === undefined ? {} : { expiration: new Date(this.clock.now() + this.lifetimeMs) },
    });
  }
}

test("aws shared keys: all clients share one fetch, and lasting keys are never fetched again", async () => {
  const source = new Source();
  source.lifetimeMs = undefined;
  assert.deepEqual(await Promise.all([source.now(), source.now(), source.now()]), ["1", "1", "1"]);
  await source.clock.advance(365 * 24 * 60 * MINUTE);
  assert.equal(await source.now(), "1");
  assert.equal(source.fetches, 1);
  assert.equal(source.clock.sleeping, 0, "no timer is left behind");
});

test("aws shared keys: renewed from five minutes before their end, in the background", async () => {
  const source = new Source();
  await source.now();
  await source.clock.advance(55 * MINUTE - 1);
  assert.equal(await source.now(), "1");
  await settle();
  assert.equal(source.fetches, 1);
  await source.clock.advance(1);
  assert.equal(await source.now(), "1", "who asks now does not wait");
  await settle();
  assert.equal(await source.now(), "2");
  assert.equal(source.fetches, 2);
});

test("aws shared keys: short-lived ones are renewed at half their life, not at every call", async () => {
  const source = new Source();
  source.lifetimeMs = 10_000;
  for (let call = 0; call < 10; call++) await source.now();
  assert.equal(source.fetches, 1);
  await source.clock.advance(5000);
  await source.now();
  await settle();
  assert.equal(await source.now(), "2");
});

test("aws shared keys: after their end nobody gets the old ones", async () => {
  const source = new Source();
  await source.now();
  await source.clock.advance(60 * MINUTE);
  assert.equal(await source.now(), "2");
});

test("aws shared keys: a failed renewal is said, tried again after ten seconds, and an error only at their end", async () => {
  const source = new Source();
  await source.now();
  await source.clock.advance(56 * MINUTE);
  source.fault = new Error("nobody is at home");
  for (let call = 0; call < 5; call++) {
    assert.equal(await source.now(), "1");
    await settle();
  }
  assert.equal(source.fetches, 2);
  assert.deepEqual(source.log.messages("warn"), [
    "AWS credentials could not be renewed, the old ones are still valid: nobody is at home",
  ]);
  await source.clock.advance(10_000);
  assert.equal(await source.now(), "1");
  await settle();
  assert.equal(source.fetches, 3);
  await source.clock.advance(4 * MINUTE);
  assert.equal(await rejection(source.now()), source.fault);
  source.fault = undefined;
  assert.equal(await source.now(), "5", "a later call tries again");
});

test("aws shared keys: a first failure is the caller's, and the next call tries again", async () => {
  const source = new Source();
  source.fault = new Error("not yet");
  assert.equal(await rejection(source.now()), source.fault);
  source.fault = undefined;
  assert.equal(await source.now(), "2");
});

test("aws shared keys: a source that never answers is given up after 30 s, as something that may be tried again", async () => {
  const source = new Source();
  source.hangs = true;
  const failed = rejection(source.now());
  await source.clock.advance(30_000);
  const error = await failed;
  assert.ok(error instanceof ConnectorError);
  assert.equal(error.code, "AWS_UNAVAILABLE");
  assert.equal(error.retryable, true);
  assert.match(error.message, /^the test gave no AWS credentials within 30 s/);
  source.hangs = false;
  assert.equal(await source.now(), "2");
});

test("aws shared keys: with a clock that is ahead, keys that look expired are not fetched at every call", async () => {
  const source = new Source();
  source.lifetimeMs = -1;
  for (let call = 0; call < 10; call++) await source.now();
  assert.equal(source.fetches, 1);
  await source.clock.advance(1000);
  assert.equal(await source.now(), "2");
});
