// Answers in the form that each command's client expects.

import type { Buffer } from "node:buffer";
import { type Command, LOOKUP_FAILED, METADATA_FAILED } from "../../pulsar/wire/commands.ts";
import { encodeCommand } from "../../pulsar/wire/frames.ts";
import { SERVER_ERROR, type ServerErrorName } from "../../pulsar/wire/server-error.ts";

/** Request id of what answers no request (all ones). */
export const NO_REQUEST = -1;

/** SUCCESS. */
export function success(requestId: number): Buffer {
  return encodeCommand("SUCCESS", { requestId });
}

/** An error: SEND_ERROR, a failed lookup, or ERROR. */
export function errorAnswer(command: Command, error: ServerErrorName, message: string): Buffer {
  const code = SERVER_ERROR[error];
  switch (command.name) {
    case "SEND": {
      const sequenceId = Math.max(command.sequenceId, command.highestSequenceId);
      return encodeCommand("SEND_ERROR", {
        producerId: command.producerId,
        sequenceId,
        error: code,
        message,
      });
    }
    case "LOOKUP":
      return encodeCommand("LOOKUP_RESPONSE", {
        requestId: command.requestId,
        response: LOOKUP_FAILED,
        error: code,
        message,
      });
    case "PARTITIONED_METADATA":
      return encodeCommand("PARTITIONED_METADATA_RESPONSE", {
        requestId: command.requestId,
        response: METADATA_FAILED,
        error: code,
        message,
      });
    default: {
      const requestId = "requestId" in command ? command.requestId ?? NO_REQUEST : NO_REQUEST;
      return encodeCommand("ERROR", { requestId, error: code, message });
    }
  }
}
