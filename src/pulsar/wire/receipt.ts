// Fast path for SEND_RECEIPT, the only command that arrives often: fills one object again and again.

import { FieldReader } from "./protobuf.ts";
import type { Buffer } from "node:buffer";

/** What of a receipt a producer needs. */
export interface Receipt {
  producerId: number;
  sequenceId: number;
  /** −1 when deduplication dropped the message as a duplicate. */
  ledgerId: number;
}

/** Number of SEND_RECEIPT's type. */
export const SEND_RECEIPT_TYPE = 7;

/** Reads a whole frame that {@link commandType} says is a SEND_RECEIPT. Throws PULSAR_PROTOCOL. */
export function readReceipt(frame: Buffer, receipt: Receipt): void {
  receipt.producerId = -1;
  receipt.sequenceId = -1;
  receipt.ledgerId = 0;
  const command = new FieldReader(frame, 10, 8 + frame.readUInt32BE(4));
  while (command.next()) {
    if (command.field !== SEND_RECEIPT_TYPE) continue;
    const fields = command.nested();
    while (fields.next()) {
      if (fields.field === 1) receipt.producerId = fields.uint();
      else if (fields.field === 2) receipt.sequenceId = fields.uint();
      else if (fields.field === 3) {
        const id = fields.nested();
        while (id.next()) if (id.field === 1) receipt.ledgerId = id.uint();
      }
    }
  }
}
