import type { Redis } from 'iovalkey';
import type { AgentUpError } from '../../errors.js';
import type { Timed } from './call-queue.js';
import type { LeanCommand } from './lean-command.js';
import type { Replicated } from './replica-waits.js';
import type { Script } from './scripts.js';

/** How a question may be treated. */
export interface AskOptions {
  /** May it be sent again when the answer was lost, that is, is doing it twice the same as once? */
  readonly repeatable: boolean;
  /** Does this answer stand for a write, which replicas must have before it counts? Default: none does. */
  readonly wrote?: ((reply: unknown) => boolean) | undefined;
}

/** A command of a transaction. */
export interface Step {
  readonly name: string;
  readonly args: string[];
}

/** One server, or one node of a cluster, as a client knows it. */
export interface Link {
  readonly client: Redis;
  /** How many replies have come. */
  replies: number;
}

/** One question on its way to an answer, over as many attempts as its time allows. */
export interface Call extends Timed, AskOptions, Replicated {
  name: string;
  readonly argv: string[];
  readonly script: Script | undefined;
  /** What is sent in front of it, and answered by its own reply: the steps of the transaction that it executes. */
  readonly steps: readonly Step[] | undefined;
  /** The cluster slot of its keys, once that was asked for; `null` where it has none. */
  slot: number | null | undefined;
  /** The node to ask this once, instead of the primary of its slot. */
  detour: Redis | undefined;
  /** What it was sent on last. */
  link: Link | undefined;
  command: LeanCommand | undefined;
  attempts: number;
  /** The place of its last sending among all. */
  sequence: number;
  /** How often it was sent and its answer did not come. */
  lost: number;
  /** How many replies had come on its link when it was sent last. */
  repliesBefore: number;
  /** Its answer, while that waits for replicas. */
  reply: unknown;
  /** An answer has said that it was done, by one node at least. */
  written: boolean;
  /** What went wrong last. */
  trouble: unknown;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: AgentUpError) => void;
}

/** A question that has not been sent. */
export function newCall(
  question: Pick<
    Call,
    'name' | 'argv' | 'script' | 'steps' | 'deadline' | 'repeatable' | 'wrote' | 'resolve' | 'reject'
  >,
): Call {
  const { name, argv, script, steps, deadline, repeatable, wrote, resolve, reject } = question;
  return {
    name,
    argv,
    script,
    steps,
    repeatable,
    wrote,
    deadline,
    settled: false,
    slot: undefined,
    detour: undefined,
    link: undefined,
    command: undefined,
    attempts: 0,
    sequence: 0,
    lost: 0,
    repliesBefore: 0,
    reply: undefined,
    done: false,
    written: false,
    trouble: undefined,
    resolve,
    reject,
  };
}
