// The tables [[hooks]], [deadLetter], [http] and [log]: the connector around the flow.

import * as v from "valibot";
import { choice, freeTable, integer, milliseconds, text } from "./fields.ts";

export const hookTable = v.pipe(
  v.strictObject({
    path: text("The script, relative to this file; or `builtin:name`. Required."),
    options: v.optional(freeTable("What the script finds in `context.options`.")),
    onError: v.optional(
      choice(
        ["stop", "skip", "dead-letter"],
        "What happens to a record whose hook fails after all retries.",
        "`stop`; `dead-letter` where `deadLetter.topic` is set",
      ),
    ),
    retries: v.optional(integer("How often a failed `onRecord` is tried again.", { max: 1_000_000 }), 0),
    timeoutMs: v.optional(
      milliseconds("After how long an asynchronous hook has failed, in milliseconds.", 1),
      30_000,
    ),
    concurrency: v.optional(
      integer("Asynchronous calls of one shard that run at the same time.", { min: 1, max: 10_000 }),
      16,
    ),
  }),
  v.description("Scripts, run in this order on each record."),
);

export const deadLetterTable = v.pipe(
  v.strictObject({ topic: text("The topic for records that cannot be published. Required.") }),
  v.description("Where records go that cannot be published."),
);

export const httpTable = v.pipe(
  v.strictObject({
    host: v.optional(text("Address to listen on."), "127.0.0.1"),
    port: v.optional(integer("Port to listen on; 0 = any free one.", { max: 65_535 }), 9464),
  }),
  v.description("Serves `/metrics`, `/livez`, `/readyz` and `/status`; off without this table."),
);

export const logTable = v.pipe(
  v.strictObject({
    level: v.optional(
      choice(["debug", "info", "warn", "error"], "The least important lines to log."),
      "info",
    ),
    format: v.optional(
      choice(["auto", "text", "json"], "`auto`: text on a terminal, JSON lines otherwise."),
      "auto",
    ),
  }),
  v.description("The log, on stderr."),
);
