// Request ids that JavaScript's numbers cannot hold: the Java client begins to count at a random 63-bit number.
// The codec reads the nearest number, so here the bytes of such an id are carried from a request into its answers.

import { Buffer } from "node:buffer";
import { COMMAND_NAMES, type CommandName, COMMANDS } from "../../pulsar/wire/commands.ts";
import { commandType } from "../../pulsar/wire/frames.ts";
import { FieldReader, writeVarint } from "../../pulsar/wire/protobuf.ts";

/** The id's encoded bytes when it is above 2^53, else undefined. `frame` is a whole frame of a request. */
export function largeRequestId(frame: Buffer, requestId: number | undefined): Buffer | undefined {
  if (requestId === undefined || Number.isSafeInteger(requestId)) return undefined;
  const found = find(frame);
  return found && Buffer.from(frame.subarray(found.start, found.end));
}

/** The frame of an answer with these bytes in place of its request id; the same frame when it has none. */
export function withRequestId(answer: Buffer, id: Buffer): Buffer {
  const found = find(answer);
  if (!found) return answer;
  const content = Buffer.concat([
    answer.subarray(found.contentStart, found.start),
    id,
    answer.subarray(found.end, found.contentEnd),
  ]);
  const head = Buffer.alloc(8 + 20);
  let at = writeVarint(head, 8, 1 * 8); // BaseCommand.type
  at = writeVarint(head, at, found.type);
  at = writeVarint(head, at, found.type * 8 + 2); // the field of the same number
  at = writeVarint(head, at, content.length);
  const total = at + content.length;
  head.writeUInt32BE(total - 4, 0);
  head.writeUInt32BE(total - 8, 4);
  return Buffer.concat([head.subarray(0, at), content]);
}

interface Found {
  readonly type: number;
  /** The command's fields inside the frame. */
  readonly contentStart: number;
  readonly contentEnd: number;
  /** The request id's value inside the frame. */
  readonly start: number;
  readonly end: number;
}

function find(frame: Buffer): Found | undefined {
  const type = commandType(frame);
  const name: CommandName | undefined = COMMAND_NAMES[type];
  const shape = name && COMMANDS[name].shape;
  if (!shape || !("requestId" in shape)) return undefined;
  const command = new FieldReader(frame, 8, 8 + frame.readUInt32BE(4));
  while (command.next()) {
    if (command.field !== type) continue;
    const { valueStart: contentStart, valueEnd: contentEnd } = command;
    const fields = new FieldReader(frame, contentStart, contentEnd);
    while (fields.next()) {
      if (fields.field !== shape.requestId.number) continue;
      return { type, contentStart, contentEnd, start: fields.valueStart, end: fields.valueEnd };
    }
  }
  return undefined;
}
