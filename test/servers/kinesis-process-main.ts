// Our Kinesis server as a program, for measurements that must not share its process: arguments as JSON, one JSON
// line when it serves, ends when its standard input does.

import process from "node:process";
import { startLocalKinesis } from "../../src/local/mod.ts";
import type { KinesisProcessOptions } from "./kinesis-process.ts";

const options: KinesisProcessOptions = JSON.parse(process.argv[2] ?? "{}");
const { streamName, shards, recordsPerShard = 0, recordBytes = 1024, ...server } = options;
const kinesis = await startLocalKinesis({ requestLogSize: 0, ...server });
kinesis.createStream(streamName, { shards });
if (recordsPerShard > 0) kinesis.fill(streamName, { records: recordsPerShard, bytes: recordBytes });
process.stdout.write(JSON.stringify({ url: kinesis.url }) + "\n");
const end = () => process.exit(0);
process.stdin.resume().on("end", end);
process.on("SIGTERM", end);
