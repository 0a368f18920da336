// Many stories, one after the other: what fast-check makes of a seed. The first that goes wrong is made smaller, and
// can be told again from its seed and path.

import fc from "fast-check";
import { play, type Story } from "./story.ts";
import { stories } from "./stories.ts";
import type { Plant, Planted } from "./worker.ts";

/** So many stories share a seed where many are told. */
export const LOT = 250;

/** Which stories. */
export interface TellOptions {
  readonly seed: number;
  readonly count: number;
  /** Tell the one story that a failure's path leads to. */
  readonly path?: string | undefined;
  readonly plant?: ((planted: Planted) => Plant) | undefined;
  /** Make a story that went wrong smaller. @default true */
  readonly shrink?: boolean;
}

/** A story that went wrong. */
export interface Failure {
  readonly seed: number;
  readonly path: string;
  readonly story: Story;
  readonly message: string;
}

/** Sums over all stories. */
export interface Totals {
  stories: number;
  events: number;
  stored: number;
  duplicates: number;
  takes: number;
  steals: number;
}

/** What came of them. */
export interface Told {
  readonly totals: Totals;
  readonly failure: Failure | undefined;
}

/** How long a story is made smaller. */
const SHRINKING_MS = 30_000;

/** Plays them until one goes wrong. */
export async function tell({ seed, count, path, plant, shrink = true }: TellOptions): Promise<Told> {
  const totals: Totals = { stories: 0, events: 0, stored: 0, duplicates: 0, takes: 0, steals: 0 };
  const property = fc.asyncProperty(stories, async (story) => {
    const { error, ...outcome } = await play(story, { plant });
    totals.stories++;
    for (const name of ["events", "stored", "duplicates", "takes", "steals"] as const) {
      totals[name] += outcome[name];
    }
    if (error !== undefined) throw error;
  });
  const asked = { seed, numRuns: count, ...path === undefined ? {} : { path } };
  let result = await fc.check(property, { ...asked, endOnFailure: true });
  if (!result.failed) return { totals, failure: undefined };
  if (shrink && path === undefined) {
    const smaller = await fc.check(property, {
      seed,
      path: result.counterexamplePath!,
      interruptAfterTimeLimit: SHRINKING_MS,
    });
    if (smaller.failed && smaller.counterexample !== null) result = smaller;
  }
  const story = result.counterexample![0];
  const message = result.errorInstance instanceof Error
    ? result.errorInstance.message
    : String(result.errorInstance);
  return { totals, failure: { seed, path: result.counterexamplePath!, story, message } };
}
