// One story: some workers share a stream while things go wrong, then nothing goes wrong any more and everything has to
// come to its good end. What happens is a value (so that it can be made smaller); how lines behave is drawn by chance.

import { comparePositions } from "../../src/core/position.ts";
import { Chance } from "../chance.ts";
import { Judge, type Start } from "./judge.ts";
import { JAVA_ID, JavaWorker } from "./java.ts";
import { FAIR, Line, type Weather } from "./line.ts";
import { SimStream } from "./stream.ts";
import { dynamoDbThrottled, dynamoDbUnavailable, SimStore, SimTable } from "./table.ts";
import { EPOCH, Process, ProcessClock, Timeline } from "./timeline.ts";
import { type Plant, type Planted, type Settings, Worker, type World } from "./worker.ts";

/** Something that happens. `who` counts through the workers that it can happen to. */
export type Deed =
  | { readonly type: "put"; readonly count: number }
  | { readonly type: "split" }
  | { readonly type: "merge" }
  /** A worker of ours, or the Java connector anew. */
  | { readonly type: "start" }
  /** With `busy`, when it is about to publish something. */
  | { readonly type: "kill"; readonly who: number; readonly busy: boolean }
  | { readonly type: "stop"; readonly who: number }
  /** For so many percent of the failover time. */
  | { readonly type: "freeze"; readonly who: number; readonly percent: number; readonly busy: boolean }
  /** Nothing gets through from or to it for so long. */
  | { readonly type: "cut"; readonly who: number; readonly percent: number }
  /** Its wall clock is set. */
  | { readonly type: "set clock"; readonly who: number; readonly seconds: number };

/** A deed and the pause before it, in percent of the failover time. */
export interface Step {
  readonly percent: number;
  readonly deed: Deed;
}

/** A whole story, as a value. */
export interface Story {
  /** For all that is left to chance. */
  readonly chance: number;
  readonly position: "LATEST" | "TRIM_HORIZON" | "AT_TIMESTAMP";
  readonly failoverTimeMs: number;
  readonly shards: number;
  readonly workers: number;
  /** A Java connector shares the table. */
  readonly java: boolean;
  /** Goes on for so long that leases are spread evenly, and finished rows are deleted. */
  readonly ages: boolean;
  /** Records before the first worker starts. */
  readonly before: number;
  readonly steps: readonly Step[];
  readonly weather: Weather;
  readonly checkpointIntervalMs: number;
  readonly numRetries: number;
  readonly receiveQueueSize: number;
  readonly room: number;
  readonly receiptsMs: number;
}

/** What came of it. */
export interface Outcome {
  readonly error: Error | undefined;
  readonly events: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly takes: number;
  readonly steals: number;
  /** Simulated milliseconds. */
  readonly duration: number;
}

/** How a story is told. */
export interface Telling {
  readonly plant?: ((planted: Planted) => Plant) | undefined;
  /** Told what happens, with the time in milliseconds before it. */
  readonly say?: ((line: string) => void) | undefined;
}

/** Plays it. Never rejects: what is wrong is in the outcome. */
export async function play(story: Story, telling: Telling = {}): Promise<Outcome> {
  const stage = new Stage(story, telling);
  try {
    await stage.play();
  } catch (error) {
    stage.judge.fail((error as Error).stack ?? String(error));
  }
  if (stage.judge.violation !== undefined) {
    stage.judge.violation.message = stage.judge.violation.message.replaceAll(OWN_ID, "");
  }
  const { judge: { violation, stored, duplicates, takes, steals }, timeline } = stage;
  return {
    error: violation,
    events: timeline.events,
    stored,
    duplicates,
    takes,
    steals,
    duration: timeline.now,
  };
}

/** Stealing goes on in rounds of so many failover times. */
const ROUND = 2.1;
/**
 * Finished rows are deleted after five minutes in one hand, and looked at once a minute. Each that goes may move another
 * to another hand, for an even share.
 */
const OLD_MS = 12 * 60_000;

/** As an id of ours ends: workers know by it who looks at the table as often as they do. Left out of what is told. */
const OWN_ID = ":1:00000000-0000-4000-8000-000000000000";

/** Everything has to be delivered so long after the last fault. */
const PATIENCE_MS = 120_000;

class Stage {
  readonly timeline = new Timeline();
  readonly judge: Judge;
  readonly #story: Story;
  readonly #stream: SimStream;
  readonly #table: SimTable;
  readonly #world: World;
  readonly #workers: Worker[] = [];
  #java: JavaWorker | undefined;
  readonly #say: (text: string) => void;
  #isCalm = false;
  #isEnding = false;

  constructor(story: Story, { plant = () => ({}), say }: Telling) {
    const { timeline } = this;
    this.#story = story;
    this.#say = say === undefined
      ? () => {}
      : (text) => say(`${timeline.now.toFixed(0).padStart(7)} ${text.replaceAll(OWN_ID, "")}`);
    const chance = new Chance(story.chance);
    this.#stream = new SimStream(timeline, chance, story.shards);
    this.#table = new SimTable(timeline, chance.int(2 ** 32));
    const start: Start = story.position === "AT_TIMESTAMP"
      ? { type: "AT_TIMESTAMP", timestamp: EPOCH + 1_000 }
      : { type: story.position };
    const settings: Settings = { ...story, start, idlePollMs: story.failoverTimeMs };
    this.judge = new Judge({
      timeline,
      stream: this.#stream,
      table: this.#table,
      start,
      failoverTimeMs: story.failoverTimeMs,
      say: this.#say,
    });
    this.#world = {
      timeline,
      stream: this.#stream,
      table: this.#table,
      judge: this.judge,
      chance,
      settings,
      weather: () => this.#isCalm ? FAIR : story.weather,
      plant,
      onGaveUp: () => this.#isEnding ? undefined : this.#start(),
      say: this.#say,
      isTold: say !== undefined,
    };
  }

  async play(): Promise<void> {
    const { before, workers, java, steps } = this.#story;
    this.#stream.put(before >> 1);
    await this.#pass(2_000);
    this.#stream.put(before - (before >> 1));
    await this.#pass(1_000);
    for (let count = workers; count > 0; count--) this.#start();
    if (java) this.#startJava();
    for (const { percent, deed } of steps) {
      await this.#pass(percent * this.#story.failoverTimeMs / 100);
      this.#say(`* ${JSON.stringify(deed)}`);
      this.#do(deed);
      if (this.judge.violation !== undefined) return;
    }
    await this.#comeToGoodEnd();
  }

  async #pass(ms: number): Promise<void> {
    if (this.judge.violation === undefined) await this.timeline.advance(ms);
  }

  #start(): void {
    const worker = new Worker(`w${this.#workers.length}${OWN_ID}`, this.#world);
    this.#workers.push(worker);
    this.#say(`* ${worker.id} starts`);
    worker.start();
  }

  #startJava(): void {
    const world = this.#world;
    const process = new Process(JAVA_ID);
    const line = new Line({
      ...world,
      process,
      unavailable: dynamoDbUnavailable,
      throttled: dynamoDbThrottled,
    });
    const { settings } = world;
    const clock = new ProcessClock(world.timeline, process, world.chance);
    this.#say("* the Java connector starts");
    this.#java = new JavaWorker({
      ...settings,
      ...world,
      process,
      line,
      clock,
      store: new SimStore({ ...settings, ...world, line, clock, worker: JAVA_ID }),
    });
    this.#java.start().catch((error) => this.judge.fail(String(error)));
  }

  #do(deed: Deed): void {
    switch (deed.type) {
      case "put":
        return this.#stream.put(deed.count);
      case "split":
        return void this.#stream.split();
      case "merge":
        return void this.#stream.merge();
      case "start":
        if (this.#java?.isWorking === false) this.#startJava();
        else if (this.#living().length < 4) this.#start();
        return;
    }
    const some = this.#living();
    const worker = some[deed.who % some.length];
    if (worker === undefined) return;
    const { failoverTimeMs } = this.#story;
    this.#say(`* it is ${worker.id}`);
    switch (deed.type) {
      case "kill":
        return this.#when(deed.busy, worker, () => this.timeline.kill(worker.process));
      case "stop":
        return worker instanceof Worker ? worker.stop() : this.timeline.kill(worker.process);
      case "freeze":
        return this.#when(deed.busy, worker, () => {
          this.timeline.freeze(worker.process);
          this.timeline.after(deed.percent * failoverTimeMs / 100, undefined, () => this.#thaw(worker));
        });
      case "cut":
        worker.cut(true);
        this.timeline.after(deed.percent * failoverTimeMs / 100, undefined, () => worker.cut(false));
        return;
      case "set clock":
        return worker.clock.setWall(deed.seconds * 1000);
    }
  }

  /** At once, or when it is about to publish. */
  #when(busy: boolean, worker: Worker | JavaWorker, act: () => void): void {
    if (!busy || !(worker instanceof Worker)) return act();
    worker.onHandedOn = () => {
      worker.onHandedOn = undefined;
      if (this.#isCalm) return;
      this.#say(`* now, ${worker.id}`);
      act();
    };
  }

  #thaw(worker: Worker | JavaWorker): void {
    this.#say(`* ${worker.id} goes on`);
    this.timeline.thaw(worker.process);
  }

  /** Those to whom something can happen. */
  #living(): (Worker | JavaWorker)[] {
    const all = [...this.#workers, ...this.#java === undefined ? [] : [this.#java]];
    return all.filter((worker) => worker.isWorking && !worker.process.frozen);
  }

  /** Nothing goes wrong any more: whatever was put is delivered in bounded time, every lease is where it belongs. */
  async #comeToGoodEnd(): Promise<void> {
    this.#say("* calm");
    this.#isCalm = true;
    for (const worker of [...this.#workers, ...this.#java === undefined ? [] : [this.#java]]) {
      worker.cut(false);
      if (worker.process.frozen) this.#thaw(worker);
    }
    if (!this.#workers.some((worker) => worker.isWorking)) this.#start();
    await this.#pass(3 * this.#story.failoverTimeMs); // so that no write is on its way any more
    const { failoverTimeMs, ages } = this.#story;
    await this.#within(PATIENCE_MS + 12 * failoverTimeMs, () => this.#missing());
    if (ages) await this.#growOld();
    this.#isEnding = true;
    this.#say("* the end");
    const last = this.#workers.filter((worker) => worker.isWorking);
    for (const worker of last) worker.stop();
    await this.#within(60_000, () => this.#remains(last));
  }

  /** Every worker comes to its share and keeps it; rows of finished shards are deleted once nobody needs them. */
  async #growOld(): Promise<void> {
    const { failoverTimeMs, java } = this.#story;
    const rows = this.#table.leases().length;
    await this.#within(PATIENCE_MS + 2 * rows * ROUND * failoverTimeMs, () => this.#uneven());
    const { takes } = this.judge;
    await this.#pass(3 * ROUND * failoverTimeMs);
    if (this.judge.takes > takes) this.judge.fail(`leases change hands in an even table: ${this.#spread()}`);
    if (java) return; // it deletes none
    await this.#pass(OLD_MS / 2); // children without a record keep their parents' rows
    this.#stream.put(12);
    const old = () =>
      this.#table.leases().find(({ leaseKey }) => this.judge.mayGo(this.#stream.shard(leaseKey)));
    while (old() !== undefined && this.judge.violation === undefined) {
      const { length } = this.#table.leases();
      await this.#within(
        OLD_MS,
        () =>
          this.#table.leases().length < length
            ? undefined
            : `the row of finished ${old()?.leaseKey} is not deleted`,
      );
    }
  }

  /** Why the leases are not spread evenly over the living. */
  #uneven(): string | undefined {
    const free = this.#table.leases().find(({ leaseOwner }) => leaseOwner === undefined);
    if (free !== undefined) return `the lease of ${free.leaseKey} is not held`;
    const counts = [...this.#counts().values()];
    return Math.max(...counts) - Math.min(...counts) > 1
      ? `leases are spread as ${this.#spread()}`
      : undefined;
  }

  #spread(): string {
    return [...this.#counts()].map(([id, count]) => `${id} ${count}`).join(", ");
  }

  #counts(): Map<string, number> {
    const counts = new Map(this.#living().map(({ id }) => [id, 0]));
    for (const { leaseOwner = "nobody" } of this.#table.leases()) {
      counts.set(leaseOwner, (counts.get(leaseOwner) ?? 0) + 1);
    }
    return counts;
  }

  /** Waits until nothing is amiss any more. */
  async #within(ms: number, amiss: () => string | undefined): Promise<void> {
    const end = this.timeline.now + ms;
    for (let text = amiss(); text !== undefined && this.judge.violation === undefined; text = amiss()) {
      if (this.timeline.now >= end) return this.judge.fail(`after ${ms} ms of calm ${text}`);
      await this.timeline.advance(500);
    }
  }

  /** What is not yet as it has to be in the end. */
  #missing(): string | undefined {
    for (const shard of this.#stream.shards) {
      const row = this.#table.row(shard.id);
      const owner = row && this.#living().find(({ id }) => id === row.leaseOwner);
      if (row !== undefined && !(owner !== undefined && this.judge.isFresh(shard, owner.id))) {
        return `the lease of ${shard.id} is not held`;
      }
      if (row === undefined && !this.judge.isOver(shard)) {
        if (this.#isNeverRead(shard)) continue;
        return `${shard.id} has no lease`;
      }
      const open = shard.users.find((user) => user.storedAt === undefined && this.judge.isRequired(user));
      if (open !== undefined) return `${open.id} is not stored`;
      if (shard.closedAt !== undefined && !this.judge.isOver(shard)) return `${shard.id} is not at SHARD_END`;
      const last = shard.users.findLast((user) => this.judge.isRequired(user));
      if (row === undefined || last === undefined || shard.closedAt !== undefined) continue;
      if (comparePositions(row.checkpoint, last) < 0) return `${shard.id} is not checkpointed at ${last.id}`;
    }
    return undefined;
  }

  /** Closed before anybody came, at a position that leaves it out. */
  #isNeverRead(shard: SimStream["shards"][number]): boolean {
    return shard.closedAt !== undefined && !shard.users.some((user) => this.judge.isRequired(user)) &&
      !shard.parents.some((parent) => this.judge.hadLease(parent));
  }

  /** What a clean stop has not done. */
  #remains(workers: readonly Worker[]): string | undefined {
    for (const { id, result } of workers) {
      if (result === undefined) return `${id} has not stopped`;
      if (result.undrained.length > 0) return `${id} left ${result.undrained.join(" ")} undrained`;
      const held = this.#table.leases().find(({ leaseOwner }) => leaseOwner === id);
      if (held !== undefined) return `${held.leaseKey} is still held by ${id}`;
    }
    return undefined;
  }
}
