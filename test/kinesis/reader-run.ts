// A reader that is read until it ends: its pages as they come, and how it ended.

import assert from "node:assert/strict";
import { ConnectorError } from "../../src/core/errors.ts";
import type { GrantedPage, ShardReader } from "../../src/kinesis/source.ts";
import { Grants } from "./kit.ts";

/** Reads on by itself. */
export class ReaderRun {
  readonly pages: GrantedPage[] = [];
  readonly grants: Grants;
  ended: "stopped" | "shard-end" | ConnectorError | undefined;

  constructor(reader: ShardReader, grants = new Grants(100)) {
    this.grants = grants;
    this.#run(reader).then((end) => this.ended = end, (error) => this.ended = error);
  }

  async #run(reader: ShardReader): Promise<"stopped" | "shard-end"> {
    for (;;) {
      const granted = await reader.next(this.grants.admit);
      if (granted === undefined) return "stopped";
      this.pages.push(granted);
      if (granted.page.shardEnd !== undefined) return "shard-end";
    }
  }

  get received(): string[] {
    return this.pages.flatMap(({ page }) => page.records.map((record) => record.sequenceNumber));
  }

  get failed(): ConnectorError {
    assert.ok(this.ended instanceof ConnectorError, `ended: ${this.ended}`);
    return this.ended;
  }
}
