// One run of the whole road in this process: every record of a stream through one synchronous hook into a topic,
// default settings. Prints one JSON line. Started by run.ts with its parameters as JSON.

import process from "node:process";
import { createConnector } from "../../mod.ts";
import { type Figures, resources } from "./figures.ts";

interface Parameters {
  readonly kinesisUrl: string;
  readonly dynamoUrl: string;
  readonly serviceUrl: string;
  readonly streamName: string;
  readonly topic: string;
  readonly applicationName: string;
  readonly records: number;
}

const parameters = JSON.parse(process.argv[2]!) as Parameters;
let firstRecordAt: number | undefined;
let seen = 0;
const connector = createConnector({
  awsRegion: "us-east-1",
  awsEndpoint: parameters.kinesisUrl,
  dynamoEndpoint: parameters.dynamoUrl,
  awsKinesisStreamName: parameters.streamName,
  awsCredentialPluginParam: '{"accessKey":"bench","secretKey":"bench"}',
  applicationName: parameters.applicationName,
  initialPositionInStream: "TRIM_HORIZON",
  useEnhancedFanOut: false,
  pulsar: { serviceUrl: parameters.serviceUrl, topic: parameters.topic },
}, {
  hooks: {
    onRecord(record) {
      if (++seen === 1) firstRecordAt = performance.now();
      return record.message;
    },
  },
});
connector.on("error", (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});

const startedAt = performance.now();
await connector.start();
const before = resources();
const from = performance.now();
while (seen < parameters.records || connector.status().pendingMessages > 0) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const after = resources();
const figures: Figures = {
  records: seen,
  seconds: (performance.now() - from) / 1000,
  cpuSeconds: after.cpuSeconds - before.cpuSeconds,
  peakMegabytes: after.peakMegabytes,
  firstRecordSeconds: (firstRecordAt! - startedAt) / 1000,
};
await connector.stop();
process.stdout.write(`${JSON.stringify(figures)}\n`);
process.exit();
