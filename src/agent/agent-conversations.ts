import { toIso } from '../clock.js';
import type { ConversationContext, ConversationInfo } from '../conversation/conversation-context.js';
import { announceEnd, type DueEnd, dueEnds } from '../conversation/ends.js';
import { GRACE, isOver, LIFE, type Life, lifeOf, overAt } from '../conversation/life.js';
import { runTurn } from '../conversation/run-turn.js';
import { AgentUpError, isAgentUpError } from '../errors.js';
import { encode } from '../json.js';
import type { Hooks } from '../skill/hooks.js';
import { permit } from '../skill/invoke-stateful.js';
import { endOf, enter, idsOf, meetsOver, reportError, runEnded } from '../skill/lifecycle.js';
import type { StatefulOptions } from '../skill/stateful-options.js';
import type { CallRunner } from '../skill/tool-box.js';
import type { RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';
import type { ConfigRuntime } from './config-runtime.js';
import type { LoadedSkill } from './load-skill.js';

/** Which conversation, and whose. */
export interface ConversationPlace {
  readonly userId?: string | undefined;
  readonly tenantId?: string | undefined;
  /** Only on the storage and in the scope of this skill. Default: of every skill that has hooks for it. */
  readonly skill?: string | undefined;
  /** The scope of skills that name none. Default `conversation`. */
  readonly scope?: StatefulOptions['scope'];
}

export interface StartOptions extends ConversationPlace {
  /** Becomes metadata of the conversation where it was not there before. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

export interface EndOptions extends ConversationPlace {
  /** What the hooks are told about why: `event.detail`. */
  readonly reason?: string | undefined;
}

export interface WatchOptions {
  /** How often to look for conversations that are over, in milliseconds. Default 5000. */
  readonly everyMs?: number | undefined;
}

interface Parts {
  readonly skills: readonly LoadedSkill[];
  readonly runtime: ConfigRuntime;
  /** On the configured storage. */
  readonly context: ConversationContext;
  readonly run: CallRunner;
}

/** One record that a context id means: skills on one storage and in one scope share it. */
interface Place {
  readonly context: ConversationContext;
  readonly contextId: string;
  readonly key: RecordKey;
  readonly skills: LoadedSkill[];
}

/** How often the hooks for an end are run before the conversation goes anyway. */
const MAX_TRIES = 6;
const FIRST_RETRY_MS = 30_000;
const MAX_RETRY_MS = 3_600_000;

/** Conversations as wholes. `agent.conversations`. */
export class AgentConversations {
  readonly #parts: Parts;
  readonly #watches = new Set<() => Promise<void>>();

  /** @internal made by the agent */
  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Begins a conversation before its first message: makes it for `userId`, notes `metadata`, and runs the
   * `@onConversationStarted()` hooks. One that is there already stays as it is.
   * @returns whether it was begun by this call
   * @throws CONTEXT_FORBIDDEN, SKILL_NOT_FOUND, what a hook threw
   */
  start(contextId: string, options: StartOptions = {}): Promise<boolean> {
    const { userId: owner, metadata } = options;
    const { skills: all } = this.#parts;
    const withHooks = all.filter(({ hooks }) => hooks !== undefined);
    return this.#parts.run(async () => {
      let begun = false;
      for (const { context, contextId: id, key, skills } of await this.#places(
        contextId,
        options,
        withHooks.length > 0 ? withHooks : all,
      )) {
        const { storage, logger } = context;
        const settings = { ...context.settings, concurrency: 'serial' as const };
        let failed: { readonly hooks: Hooks | undefined; readonly error: unknown } | undefined;
        await runTurn({ storage, key, settings, logger, owner }, async (turn) => {
          const inside = context.inTurn(turn, id, false);
          const isNew = meetsOver(turn, context) || turn.attributes() === undefined;
          if (!isNew) permit(turn, id, owner);
          // Ends what is over, also where no skill here wants to know of the beginning.
          await enter({ turn, context: inside, contextId: id, hooks: undefined, event: {} });
          if (isNew) {
            begun = true;
            await turn.create(owner);
            for (const [name, value] of Object.entries(metadata ?? {})) await inside.setMetadata(id, name, value);
          }
          for (const { hooks } of skills) {
            try {
              await enter({ turn, context: inside, contextId: id, hooks, event: { ...(metadata && { metadata }) } });
            } catch (error) {
              failed = { hooks, error };
              throw error;
            }
          }
        }).catch(async (error: unknown) => {
          const event = { ...idsOf(context, id), phase: 'started' as const, error };
          if (failed?.error === error) await reportError(failed?.hooks, event, context);
          throw error;
        });
      }
      return begun;
    });
  }

  /**
   * Ends a conversation: runs the `@onConversationEnded()` hooks, then removes it. Where a hook throws, that is
   * logged, the conversation is over for everybody, and the hook is tried again later.
   * @returns whether there was one
   * @throws CONTEXT_FORBIDDEN where `userId` is given and another's, CONVERSATION_BUSY, SKILL_NOT_FOUND
   */
  end(contextId: string, options: EndOptions = {}): Promise<boolean> {
    return this.#parts.run(async () => {
      let was = false;
      for (const { context, key } of await this.#places(contextId, options, this.#parts.skills)) {
        const ended = await this.#end(context, key, { detail: options.reason ?? '', owner: options.userId, tries: 0 });
        if (ended !== 'absent') was = true;
      }
      return was;
    });
  }

  /** The conversations of a tenant, or one user's, on the configured storage or that of a skill; none that is over. */
  async *list(
    query: ConversationPlace & { readonly updatedBefore?: Date | string | number | undefined } = {},
  ): AsyncGenerator<ConversationInfo, void, undefined> {
    const { userId, tenantId, updatedBefore } = query;
    const context = await this.#contextOf(query.skill);
    const own = query.skill === undefined ? undefined : this.#skill(query.skill).handler.options.scope;
    const listed = context.scoped({ kind: own ?? query.scope ?? 'conversation', userId, tenantId });
    const now = context.clock.now();
    for await (const info of listed.listContexts({
      ...(userId !== undefined && { userId }),
      ...(updatedBefore !== undefined && { updatedBefore }),
    })) {
      if (this.#parts.runtime.skills.size === 0) {
        yield info;
        continue;
      }
      const record = await context.storage.read(listed.keyOf(info.contextId), { fields: [LIFE] });
      const life = lifeOf(record?.fields.get(LIFE));
      if (!record || (life && isOver(life, record.updatedAt, now))) continue;
      const { expiresAt, ...rest } = info;
      const at = life?.ttl === undefined ? record.expiresAt : overAt(life, record.updatedAt);
      yield { ...rest, ...(at !== undefined && { expiresAt: toIso(at) }) };
    }
  }

  /**
   * Ends the conversations whose time to live is over, once. Any number of processes may do so.
   * @returns how many have been ended
   */
  runDue(): Promise<number> {
    return this.#parts.run(async () => {
      let ended = 0;
      for (const [storage, context] of await this.#storages()) {
        for (const due of await dueEnds(storage, context.clock.now())) {
          try {
            if (await this.#look(context, due)) ended++;
          } catch (error) {
            // Somebody is at it, or writes to it; the others are not kept waiting.
            if (!isAgentUpError(error, 'CONVERSATION_BUSY') && !isAgentUpError(error, 'LEASE_LOST')) throw error;
          }
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
    let stopped = false;
    let timer: NodeJS.Timeout | undefined;
    const round = async (): Promise<void> => {
      try {
        await this.runDue();
      } catch (error) {
        if (isAgentUpError(error, 'AGENT_CLOSED')) stopped = true;
        if (!stopped) this.#parts.context.logger.error('conversations that are over could not be looked after', error);
      }
      if (stopped) return;
      timer = setTimeout(() => {
        running = round();
      }, everyMs);
      timer.unref();
    };
    let running = round();
    const stop = async (): Promise<void> => {
      stopped = true;
      clearTimeout(timer);
      this.#watches.delete(stop);
      await running;
    };
    this.#watches.add(stop);
    return stop;
  }

  /** Ends all watches. @internal */
  async stop(): Promise<void> {
    await Promise.all([...this.#watches].map((stop) => stop()));
  }

  /** Looks at one conversation that may be over. @returns whether it was ended */
  async #look(base: ConversationContext, due: DueEnd): Promise<boolean> {
    const record = await base.storage.read(due.key, { fields: [LIFE] });
    const life = lifeOf(record?.fields.get(LIFE));
    if (!record || life === undefined) {
      await due.done();
      return false;
    }
    const { key, tries } = due;
    const now = base.clock.now();
    const at = overAt(life, record.updatedAt);
    if (at === undefined || at > now) {
      if (at !== undefined) await announceEnd(base.storage, { key, at, now });
      await due.done();
      return false;
    }
    // Another agent on this storage has the skills for it.
    if (!Object.keys(life.started).some((owner) => this.#parts.runtime.skills.has(owner))) return false;
    const outcome = await this.#end(base.scoped(scopeOf(key, record.owner)), key, { tries, waitMs: 0 });
    // Somebody wrote to it meanwhile, or ended it: the next round tells which.
    if (outcome !== 'absent') await due.done();
    return outcome === 'ended';
  }

  /**
   * Runs the hooks and removes the conversation, where it is over or `detail` says that it is to be.
   * @returns `later`: the hooks failed, and are announced to be tried again
   */
  async #end(
    context: ConversationContext,
    key: RecordKey,
    { detail, owner, tries, waitMs }: { detail?: string; owner?: string | undefined; tries: number; waitMs?: number },
  ): Promise<'ended' | 'absent' | 'later'> {
    const { storage, logger, settings: given } = context;
    const settings = { ...given, concurrency: 'serial' as const, ...(waitMs !== undefined && { waitMs }) };
    const { skills } = this.#parts.runtime;
    let failed: { readonly error: unknown } | undefined;
    let life: Life | undefined;
    try {
      const { result } = await runTurn({ storage, key, settings, logger }, async (turn) => {
        if (turn.attributes() === undefined) return 'absent' as const;
        const over = meetsOver(turn, context);
        if (!over) {
          if (detail === undefined) return 'absent' as const;
          permit(turn, key.id, owner);
        }
        life = lifeOf(turn.life);
        const end = over && life ? endOf(life) : endOf({ started: {}, over: detail });
        const inside = context.scoped({ ...context.scope, userId: turn.owner ?? context.scope.userId });
        try {
          await runEnded(turn, inside.inTurn(turn, key.id, false), key.id, skills, end);
        } catch (error) {
          if (tries + 1 < MAX_TRIES) {
            failed = { error };
            throw error;
          }
          logger.error(`a hook for the end of a conversation failed ${MAX_TRIES} times; it goes without`, error);
        }
        await turn.erase();
        return over && detail !== undefined ? ('absent' as const) : ('ended' as const);
      });
      return result;
    } catch (error) {
      if (!failed) throw error;
    }
    const pause = Math.min(FIRST_RETRY_MS * 2 ** tries, MAX_RETRY_MS);
    logger.error(`a hook for the end of a conversation failed; it is tried again in ${pause / 1000} s`, failed.error);
    await this.#postpone(context, key, { pause, tries: tries + 1, life, detail });
    return 'later';
  }

  async #postpone(
    { storage, clock }: ConversationContext,
    key: RecordKey,
    {
      pause,
      tries,
      life,
      detail,
    }: { pause: number; tries: number; life: Life | undefined; detail: string | undefined },
  ): Promise<void> {
    const now = clock.now();
    await announceEnd(storage, { key, at: now + pause, now, tries });
    if (detail === undefined || !life) return;
    // Said to be over it stays: no later turn goes on with it.
    const value = encode({ ...life, over: detail } satisfies Life);
    await storage.commit(key, [{ op: 'set', field: LIFE, value }], {
      condition: { exists: true },
      expiry: { set: Math.ceil(pause / 1000) + GRACE },
    });
  }

  #skill(id: string): LoadedSkill {
    const skill = this.#parts.skills.find((candidate) => candidate.id === id);
    if (skill) return skill;
    throw new AgentUpError('SKILL_NOT_FOUND', `there is no skill ${JSON.stringify(id)}`, {
      skillId: id,
      fix: `use one of: ${this.#parts.skills.map((candidate) => candidate.id).join(', ') || '(the agent has none)'}`,
    });
  }

  async #contextOf(skill: string | undefined): Promise<ConversationContext> {
    return skill === undefined
      ? this.#parts.context
      : this.#parts.runtime.contextFor(this.#skill(skill).handler.options);
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

  /** What the context id means to the skills that have hooks, or to all of `candidates`. */
  async #places(
    contextId: string,
    { skill, userId, tenantId, scope = 'conversation' }: ConversationPlace,
    candidates: readonly LoadedSkill[],
  ): Promise<Place[]> {
    const places: Place[] = [];
    const add = (base: ConversationContext, kind: 'conversation' | 'user' | 'session', of?: LoadedSkill): void => {
      const id = kind === 'user' ? userId : contextId;
      // Without a user there is no such memory.
      if (kind !== 'conversation' && userId === undefined) return;
      const context = base.scoped({ kind, userId, tenantId });
      const key = context.keyOf(id as string);
      const known = places.find((other) => {
        return other.context.storage === base.storage && other.key.space === key.space && other.key.id === key.id;
      });
      if (known && of) known.skills.push(of);
      if (!known) places.push({ context, contextId: id as string, key, skills: of ? [of] : [] });
    };
    for (const loaded of skill === undefined ? candidates : [this.#skill(skill)]) {
      if (loaded.handler.kind !== 'stateful') continue;
      const base = await this.#parts.runtime.contextFor(loaded.handler.options);
      add(base, loaded.handler.options.scope ?? scope, loaded);
    }
    if (skill === undefined && places.length === 0) add(this.#parts.context, scope);
    return places;
  }
}

/** Whose conversation a key means. */
function scopeOf({ space, scope, id }: RecordKey, owner: string | undefined) {
  if (space === 'users') return { kind: 'user' as const, tenantId: scope[0], userId: id };
  if (space === 'contexts') return { kind: 'conversation' as const, tenantId: scope[0], userId: owner };
  return { kind: 'session' as const, tenantId: scope.length > 1 ? scope[0] : undefined, userId: scope.at(-1) };
}
