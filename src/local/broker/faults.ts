// Injected faults: what shall go wrong, for which commands of clients, how often. Invariant: a fault hits exactly
// the commands it names, counted from its injection; the first fault that matches decides, in order of injection.

import { CountedFaults, type InjectedFault } from "../counted-faults.ts";
import { ConnectorError } from "../../core/errors.ts";
import type { CommandName } from "../../pulsar/wire/commands.ts";
import type { ServerErrorName } from "../../pulsar/wire/server-error.ts";
import { fullTopicName, partitionedName } from "./topic-name.ts";

/**
 * Something that goes wrong on purpose. Of `error`, `drop`, `hang`, `garbage`, `closeProducer` and `redirectTo`
 * at most one is given; `delayMs` may stand alone or beside `error`.
 *
 * @example the second SEND is stored, but its receipt is lost with the connection
 * broker.inject({ command: "SEND", nth: 2, drop: true, applied: true });
 * @example nobody may publish
 * broker.inject({ command: "PRODUCER", times: Infinity, error: "AuthorizationError" });
 */
export interface BrokerFault {
  /** The client's command that is hit; "*" means every one. */
  readonly command: CommandName | "*";
  /** Only commands for this topic (short or full name, with or without its partition). */
  readonly topic?: string | undefined;
  /** Only commands of the producer with this name. */
  readonly producerName?: string | undefined;
  /** The first matching command that is hit, counted from 1. @default 1 */
  readonly nth?: number | undefined;
  /** How many matching commands are hit, from the nth on; Infinity means all. @default 1 */
  readonly times?: number | undefined;
  /** The answer, and each later one on that connection, comes at the earliest so many milliseconds later. */
  readonly delayMs?: number | undefined;
  /**
   * Answers this error; to SEND by SEND_ERROR, where PersistenceError also closes the topic's producers, as it does
   * on brokers. A refused CONNECT closes the connection.
   */
  readonly error?: ServerErrorName | undefined;
  /** The error's message. */
  readonly message?: string | undefined;
  /** Closes the connection without an answer. */
  readonly drop?: boolean | undefined;
  /** With `drop`: so many bytes of the answer are still sent. */
  readonly afterBytes?: number | undefined;
  /** Never answers; the connection stays open, and what comes behind is done as ever. */
  readonly hang?: boolean | undefined;
  /** Answers bytes that are no frame. */
  readonly garbage?: boolean | undefined;
  /** SEND only: answers CLOSE_PRODUCER, as when a topic is unloaded. */
  readonly closeProducer?: boolean | undefined;
  /** LOOKUP only: sends the client to this service URL. */
  readonly redirectTo?: string | undefined;
  /** The command takes effect, only its answer is lost or replaced. @default false; true with `garbage` and `afterBytes` */
  readonly applied?: boolean | undefined;
}

/** What a command is about. */
export interface CommandTarget {
  readonly topic?: string | undefined;
  readonly producerName?: string | undefined;
}

/** The faults of one broker. */
export class BrokerFaults {
  readonly #faults = new CountedFaults<BrokerFault>();

  /** @throws ConnectorError CONFIG_INVALID for a fault that contradicts itself */
  inject(fault: BrokerFault): InjectedFault {
    check(fault);
    return this.#faults.inject(fault);
  }

  clear(): void {
    this.#faults.clear();
  }

  /** The fault that hits this command, if any. To be asked once per command: it counts. */
  next(command: CommandName, target: CommandTarget): BrokerFault | undefined {
    return this.#faults.next((fault) =>
      (fault.command === "*" || fault.command === command) &&
      (fault.topic === undefined || isAbout(target.topic, fullTopicName(fault.topic))) &&
      (fault.producerName === undefined || fault.producerName === target.producerName)
    );
  }
}

function isAbout(topic: string | undefined, wanted: string): boolean {
  return topic !== undefined && (topic === wanted || partitionedName(topic) === wanted);
}

const EFFECTS = ["error", "drop", "hang", "garbage", "closeProducer", "redirectTo"] as const;

function check(fault: BrokerFault): void {
  const effects = EFFECTS.filter((effect) => fault[effect]);
  const problem = effects.length > 1
    ? `${effects.join(" and ")} exclude each other`
    : effects.length === 0 && fault.delayMs === undefined
    ? `it has no effect: give one of ${EFFECTS.join(", ")}, delayMs`
    : fault.closeProducer && fault.command !== "SEND"
    ? "closeProducer is for command SEND"
    : fault.redirectTo && fault.command !== "LOOKUP"
    ? "redirectTo is for command LOOKUP"
    : fault.afterBytes !== undefined && !fault.drop
    ? "afterBytes goes with drop"
    : (fault.nth ?? 1) < 1 || (fault.times ?? 1) < 1
    ? "nth and times are at least 1"
    : undefined;
  if (problem) {
    throw new ConnectorError(`cannot inject the fault for ${fault.command}: ${problem}`, {
      code: "CONFIG_INVALID",
      where: { operation: fault.command },
    });
  }
}
