// The whole road over TLS with a token: the program, a configuration file, a real broker; and that no output shows
// the token, whatever goes wrong.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { brokerMissing, startBroker, type TestBroker } from "../servers/broker.ts";
import { layRoad, received, stopped } from "./kit.ts";

const skip = brokerMissing() ?? false;
let starting: Promise<TestBroker> | undefined;
after(async () => await (await starting)?.stop());

function secured(): Promise<Required<TestBroker>> {
  return (starting ??= startBroker({ args: ["--auth-token", "--tls"] })) as Promise<Required<TestBroker>>;
}

test(
  "e2e security: records arrive over TLS with a token from a file, and no output shows it",
  { skip },
  async (t) => {
    const broker = await secured();
    const { serviceUrl, serviceUrlTls, caFile, token } = broker;
    const road = await layRoad(t, { serviceUrl: serviceUrlTls });
    await writeFile(join(road.folder, "token"), `${token}\n`);
    const file = await road.write("c.toml", {
      log: { level: "debug" },
      pulsar: { auth: { type: "token", file: "token" }, tls: { caFile } },
    });
    const valid = road.run("validate", file);
    assert.equal(await valid.exitCode, 0, valid.stderr);
    for (let index = 0; index < 10; index++) {
      road.kinesis.putRecord(road.streamName, { partitionKey: `k${index}`, data: `record ${index}` });
    }
    const cli = road.run("run", file, "--verbose");
    const read = await received(cli, road.topic, 10, { serviceUrl, token });
    const texts = read.map(({ data }) => data!.toString()).sort();
    assert.deepEqual(texts, Array.from({ length: 10 }, (_, index) => `record ${index}`));
    await stopped(cli);
    for (const { stdout, stderr } of [valid, cli]) assert.ok(!`${stdout}${stderr}`.includes(token));
  },
);

test(
  "e2e security: what cannot work ends with 2 or 1 and says what to do, without the token",
  { skip },
  async (t) => {
    const broker = await secured();
    const { serviceUrlTls, caFile, userToken } = broker;
    const road = await layRoad(t, { serviceUrl: serviceUrlTls });
    const damaged = `${userToken.slice(0, -6)}AAAAAA`;
    const cases: [Record<string, unknown>, number, RegExp][] = [
      [
        { auth: { type: "token", token: damaged }, tls: { caFile } },
        1,
        /PULSAR_NOT_AUTHORIZED|AuthenticationError/,
      ],
      [{ auth: { type: "token", token: userToken }, tls: { caFile } }, 1, /Grant the role 'produce'/],
      [
        { auth: { type: "token", token: userToken } },
        1,
        /give the certificate of its authority \(CA\) as pulsar\.tls\.caFile/,
      ],
      [
        { auth: { type: "token", file: "gone" }, tls: { caFile } },
        2,
        /no token from pulsar\.auth\.file \(.*gone\): there is no/,
      ],
    ];
    for (const [pulsar, code, words] of cases) {
      const cli = road.run("run", await road.write("c.toml", { pulsar }), "--verbose");
      assert.equal(await cli.exitCode, code, cli.stderr);
      assert.match(cli.stderr, words);
      for (const secret of [damaged, userToken]) assert.ok(!`${cli.stdout}${cli.stderr}`.includes(secret));
    }
    const faulty = road.run(
      "validate",
      await road.write("c.toml", {
        pulsar: { auth: { type: "token", file: "gone" }, tls: { caFile: "c.toml" } },
      }),
    );
    assert.equal(await faulty.exitCode, 2);
    assert.match(
      faulty.stderr,
      /c\.toml:\d+:\d+: the file .*c\.toml \(pulsar\.tls\.caFile\) holds no certificate/,
    );
    assert.match(
      faulty.stderr,
      /c\.toml:\d+:\d+: no token from pulsar\.auth\.file \(.*gone\): there is no such file/,
    );
  },
);
