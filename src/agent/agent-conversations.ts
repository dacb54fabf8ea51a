import { toIso } from '../clock.js';
import type { ConversationContext, ConversationInfo } from '../conversation/conversation-context.js';
import { announceEnd, type DueEnd, dueEnds } from '../conversation/ends.js';
import { endDueAt, isOver, LIFE, lifeOf, overAt } from '../conversation/life.js';
import { AgentUpError, isAgentUpError } from '../errors.js';
import { rounds } from '../rounds.js';
import { beginConversation } from '../skill/begin-conversation.js';
import { endConversation } from '../skill/end-conversation.js';
import type { CallRunner } from '../skill/tool-box.js';
import type { StateStorage } from '../storage/state-storage.js';
import { within } from '../within.js';
import type { ConfigRuntime } from './config-runtime.js';
import { placesOf, scopeOf, type Whose } from './conversation-places.js';
import type { LoadedSkill } from './load-skill.js';

/** Which conversation, and whose. */
export interface ConversationPlace extends Whose {
  /** Only on the storage and in the scope of this skill. Default: of every skill. */
  readonly skill?: string | undefined;
}

export interface StartOptions extends ConversationPlace {
  /** Becomes metadata of the conversation where it was not there before. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

export interface EndOptions extends ConversationPlace {
  /** What the hooks are told about why: `event.detail`. */
  readonly reason?: string | undefined;
}

export interface ListOptions extends ConversationPlace {
  /** Only those that nobody has written to since. */
  readonly updatedBefore?: Date | string | number | undefined;
}

export interface WatchOptions {
  /** How often to look for conversations that are over, in milliseconds. Default 5000. */
  readonly everyMs?: number | undefined;
}

/** How long the conversations that are over wait for the hooks of one among them, in milliseconds. */
const PATIENCE_MS = 60_000;

interface Parts {
  readonly skills: readonly LoadedSkill[];
  readonly runtime: ConfigRuntime;
  /** On the configured storage. */
  readonly context: ConversationContext;
  readonly run: CallRunner;
}

/** Conversations as wholes. `agent.conversations`. */
export class AgentConversations {
  readonly #parts: Parts;

  /** @internal made by the agent */
  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Begins a conversation before its first message: makes it for `userId`, notes `metadata`, and runs the
   * `@onConversationStarted()` hooks of the skills that have any. One that is there already stays as it is.
   * @returns whether it was begun by this call
   * @throws CONTEXT_FORBIDDEN, SKILL_NOT_FOUND, AGENT_CLOSED, what a hook threw
   */
  start(contextId: string, options: StartOptions = {}): Promise<boolean> {
    return this.#parts.run(async () => {
      const skills = this.#skills(options.skill);
      const listening = skills.filter(({ hooks }) => hooks !== undefined);
      let begun = false;
      const among = listening.length > 0 ? listening : skills;
      for (const place of await placesOf(contextId, among, options, this.#parts)) {
        const hooks = place.skills.flatMap((skill) => skill.hooks ?? []);
        const { metadata } = options;
        if (await beginConversation(place.context, place.contextId, { skills: hooks, metadata })) begun = true;
      }
      return begun;
    });
  }

  /**
   * Ends a conversation: runs the `@onConversationEnded()` hooks, then removes it. Where a hook throws, that is
   * logged, the conversation is over for everybody, and the hook is tried again later.
   * @returns whether there was one
   * @throws CONTEXT_FORBIDDEN where `userId` is given and another's, CONVERSATION_BUSY, SKILL_NOT_FOUND, AGENT_CLOSED
   */
  end(contextId: string, options: EndOptions = {}): Promise<boolean> {
    return this.#parts.run(async () => {
      const { userId, reason: detail = '' } = options;
      let was = false;
      for (const { context, key } of await placesOf(contextId, this.#skills(options.skill), options, this.#parts)) {
        const { skills } = this.#parts.runtime;
        if ((await endConversation(context, key, { skills, detail, userId, tries: 0 })) !== 'absent') was = true;
      }
      return was;
    });
  }

  /** The conversations of a tenant, or one user's, on the configured storage or that of a skill; none that is over. */
  async *list(query: ListOptions = {}): AsyncGenerator<ConversationInfo, void, undefined> {
    const { skill, userId, tenantId, updatedBefore } = query;
    const { runtime, context: configured } = this.#parts;
    const options = skill === undefined ? undefined : this.#skills(skill)[0]?.handler.options;
    const context = options ? await runtime.contextFor(options) : configured;
    const listed = context.scoped({ kind: options?.scope ?? query.scope ?? 'conversation', userId, tenantId });
    for await (const info of listed.listContexts({
      ...(userId !== undefined && { userId }),
      ...(updatedBefore !== undefined && { updatedBefore }),
    })) {
      const current = runtime.skills.size === 0 ? info : await unlessOver(listed, info);
      if (current) yield current;
    }
  }

  /**
   * Ends the conversations whose time to live is over, once. Any number of processes may do so.
   * @returns how many have been ended
   * @throws STORAGE_UNAVAILABLE, AGENT_CLOSED
   */
  runDue(): Promise<number> {
    return this.#parts.run(async () => {
      let ended = 0;
      for (const [storage, context] of await this.#storages()) {
        for (const due of await dueEnds(storage, context.clock.now())) {
          if (await this.#lookAmongOthers(context, due)) ended++;
        }
      }
      return ended;
    });
  }

  /**
   * Calls `runDue` again and again, until it is stopped or the agent is closed. Errors of the storage are logged.
   * @returns stops it, and waits for the round that runs
   */
  watch({ everyMs = 5_000 }: WatchOptions = {}): () => Promise<void> {
    return rounds(
      everyMs,
      () => this.runDue(),
      (error) => {
        if (isAgentUpError(error, 'AGENT_CLOSED')) return false;
        this.#parts.context.logger.error(error, 'conversations that are over could not be looked after');
        return true;
      },
    );
  }

  /**
   * Looks at one conversation that may be over, in the background, for whoever has just ended it: what comes of it is
   * logged, and what does not is left to `runDue`.
   * @internal
   */
  lookAt(due: DueEnd): void {
    const { context, run } = this.#parts;
    run(() => this.#look(context, due)).catch((error) => {
      if (isAgentUpError(error, 'CONVERSATION_BUSY') || isAgentUpError(error, 'AGENT_CLOSED')) return;
      context.logger.error(error, 'the hooks for an end could not be run at once');
    });
  }

  /** As `#look`, but the others wait neither for one that somebody is at, nor for a hook that hangs, nor end with an error. */
  async #lookAmongOthers(context: ConversationContext, due: DueEnd): Promise<boolean> {
    const looking = this.#look(context, due).catch((error) => {
      if (isAgentUpError(error, 'CONVERSATION_BUSY') || isAgentUpError(error, 'LEASE_LOST')) return false;
      if (isAgentUpError(error, 'STORAGE_UNAVAILABLE') || isAgentUpError(error, 'STORAGE_CLOSED')) throw error;
      context.logger.error(error, 'a conversation that may be over could not be looked at');
      return false;
    });
    return within(PATIENCE_MS, looking, () => false, { ref: false });
  }

  /** Looks at one conversation that may be over. @returns whether it was ended */
  async #look(base: ConversationContext, due: DueEnd): Promise<boolean> {
    const { key, tries } = due;
    const { skills } = this.#parts.runtime;
    const record = await base.storage.read(key, { fields: [LIFE] });
    const life = lifeOf(record?.fields.get(LIFE));
    const at = record && life && endDueAt(life, record.updatedAt);
    const now = base.clock.now();
    if (at === undefined || at > now) {
      if (at !== undefined) await announceEnd(base.storage, { key, at, now });
      await due.done();
      return false;
    }
    // Another agent on this storage has the skills for it.
    if (!Object.keys(life?.started ?? {}).some((owner) => skills.has(owner))) return false;
    const context = base.scoped(scopeOf(key, record?.owner));
    const outcome = await endConversation(context, key, { skills, tries, waitMs: 0 });
    // Somebody wrote to it meanwhile, or ended it: the next round tells which.
    if (outcome !== 'absent') await due.done();
    return outcome === 'ended';
  }

  /** All skills, or the one of this id. @throws SKILL_NOT_FOUND */
  #skills(id: string | undefined): readonly LoadedSkill[] {
    const { skills } = this.#parts;
    if (id === undefined) return skills;
    const named = skills.filter((skill) => skill.id === id);
    if (named.length > 0) return named;
    throw new AgentUpError('SKILL_NOT_FOUND', `there is no skill ${JSON.stringify(id)}`, {
      skillId: id,
      fix: `use one of: ${skills.map((skill) => skill.id).join(', ') || '(the agent has none)'}`,
    });
  }

  /** The storages of skills that have hooks, each once. */
  async #storages(): Promise<Map<StateStorage, ConversationContext>> {
    const found = new Map<StateStorage, ConversationContext>();
    for (const { handler, hooks } of this.#parts.skills) {
      if (!hooks || handler.kind !== 'stateful') continue;
      const context = await this.#parts.runtime.contextFor(handler.options);
      if (!found.has(context.storage)) found.set(context.storage, context);
    }
    return found;
  }
}

/** What is listed of a conversation, without the grace that its end is given; `undefined` where it is over. */
async function unlessOver(context: ConversationContext, info: ConversationInfo): Promise<ConversationInfo | undefined> {
  const record = await context.storage.read(context.keyOf(info.contextId), { fields: [LIFE] });
  const life = lifeOf(record?.fields.get(LIFE));
  if (!record || (life && isOver(life, record.updatedAt, context.clock.now()))) return undefined;
  if (life?.ttl === undefined) return info;
  const { expiresAt: _, ...rest } = info;
  const at = overAt(life, record.updatedAt);
  return at === undefined ? rest : { ...rest, expiresAt: toIso(at) };
}
