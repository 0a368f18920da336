// A broker that acknowledges and forgets, in a process of its own, so that a producer's CPU is measured alone:
// node --import tsx test/bench/discarding-broker.ts prints its service URL.

import { Buffer } from "node:buffer";
import { createServer } from "node:net";
import process from "node:process";
import { commandType, decodeCommand, encodeCommand } from "../../src/pulsar/wire/frames.ts";
import { FrameSplitter } from "../../src/pulsar/wire/splitter.ts";

const SEND = 6;

/** By name: deduplication is "on", as far as a producer can see that. */
const lastSequenceIds = new Map<string, number>();

const server = createServer((socket) => {
  const names = new Map<number, string>();
  socket.setNoDelay(true);
  let replies: Buffer[] = [];
  const splitter = new FrameSplitter((frame) => {
    const command = decodeCommand(frame);
    switch (command?.name) {
      case "SEND": {
        const { producerId, sequenceId, highestSequenceId } = command;
        lastSequenceIds.set(names.get(producerId)!, highestSequenceId ?? sequenceId);
        const messageId = { ledgerId: 1, entryId: 1 };
        replies.push(encodeCommand("SEND_RECEIPT", { producerId, sequenceId, highestSequenceId, messageId }));
        return;
      }
      case "CONNECT":
        replies.push(
          encodeCommand("CONNECTED", {
            serverVersion: "discarding",
            protocolVersion: 19,
            maxMessageSize: 5 * 1024 * 1024,
          }),
        );
        return;
      case "PARTITIONED_METADATA":
        replies.push(
          encodeCommand("PARTITIONED_METADATA_RESPONSE", {
            requestId: command.requestId,
            partitions: 0,
            response: 0,
          }),
        );
        return;
      case "LOOKUP":
        replies.push(
          encodeCommand("LOOKUP_RESPONSE", {
            requestId: command.requestId,
            response: 1,
            brokerServiceUrl: url,
          }),
        );
        return;
      case "PRODUCER": {
        const { requestId, producerId, producerName = "bench" } = command;
        names.set(producerId, producerName);
        const lastSequenceId = command.producerName === undefined
          ? -1
          : lastSequenceIds.get(producerName) ?? -1;
        replies.push(encodeCommand("PRODUCER_SUCCESS", { requestId, producerName, lastSequenceId }));
        return;
      }
      case "PING":
        replies.push(encodeCommand("PONG", {}));
        return;
      case "CLOSE_PRODUCER":
        replies.push(encodeCommand("SUCCESS", { requestId: command.requestId }));
        return;
      default:
        if (commandType(frame) === SEND) throw new Error("a SEND that cannot be read");
    }
  });
  socket.on("data", (chunk) => {
    splitter.push(chunk as Uint8Array);
    if (replies.length > 0) socket.write(Buffer.concat(replies));
    replies = [];
  });
  socket.on("error", () => {}); // the producer ends without ceremony
});
let url = "";
server.listen(0, "127.0.0.1", () => {
  url = `pulsar://127.0.0.1:${(server.address() as { port: number }).port}`;
  process.stdout.write(`${url}\n`);
});
process.stdin.on("end", () => process.exit()).resume(); // whoever started us is gone
