import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { isAgentUpError } from '../../src/errors.js';
import { withState } from '../../src/skill/with-state.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import type { TestClock } from '../support/test-clock.js';
import { type Op, PlainConversations, PlainError, type PlainSettings, PlainTurn } from './plain-conversations.js';

/** What a handler does, one after the other. */
export type Act =
  | { do: 'call'; op: Op }
  /** Of another conversation, which is written to at once. */
  | { do: 'elsewhere'; op: Op }
  /** By somebody else, outside of the turn. */
  | { do: 'aside'; op: Op }
  /** A handler called in the handler. */
  | { do: 'nested'; userId?: string; acts: Act[]; throws: boolean };

export interface Taken {
  by: number;
  messageId?: string;
  userId?: string;
  acts: Act[];
  throws: boolean;
}

export type ConversationStep =
  | { do: 'call'; by: number; id: number; op: Op }
  /** Several at once. */
  | { do: 'turns'; id: number; turns: Taken[] }
  | { do: 'list'; by: number; userId?: string; after?: string; limit?: number; age?: number }
  | { do: 'cleanup'; by: number; hours: number }
  | { do: 'advance'; ms: number }
  | { do: 'reopen'; by: number };

export interface ConversationSubject {
  open(): StateStorage;
  instances: number;
  clock?: TestClock;
}

export const IDS = ['a', 'A', 'b:/*'] as const;

/** Drives conversations and the model of them through the same steps; every difference is a failure. */
export class ConversationPair {
  readonly #subject: ConversationSubject;
  readonly #settings: PlainSettings;
  readonly #tenantId = `pair-${randomBytes(6).toString('hex')}`;
  readonly #model: PlainConversations;
  readonly #storages: StateStorage[];
  readonly #contexts: ConversationContext[];
  /** What the turns of a step are to do, by task. */
  readonly #work = new Map<string, { turn: Taken; begun: (answers: unknown[]) => void }>();
  /** Every reply of a turn that was committed, by message. */
  readonly #replied = new Map<string, unknown[]>();
  #tasks = 0;
  #running = false;

  readonly #handle = withState(
    async (task: { id: string; text: string; contextId: string }, context: ConversationContext) => {
      const { turn, begun } = this.#work.get(task.id) as { turn: Taken; begun: (answers: unknown[]) => void };
      const answers: unknown[] = [];
      begun(answers);
      assert.equal(this.#running, false, 'two turns of one conversation at once');
      this.#running = true;
      try {
        await this.#acts(turn.acts, context, task.contextId, answers, turn.by);
      } finally {
        this.#running = false;
      }
      if (turn.throws) throw new Error('thrown');
      return task.id;
    },
  );

  constructor(subject: ConversationSubject, settings: PlainSettings) {
    this.#subject = subject;
    this.#settings = settings;
    this.#model = new PlainConversations(settings, () => this.#now());
    this.#storages = Array.from({ length: subject.instances }, () => subject.open());
    this.#contexts = this.#storages.map((storage) => this.#contextOver(storage));
  }

  async run(steps: readonly ConversationStep[]): Promise<void> {
    try {
      for (const step of steps) {
        await this.#step(step);
        await this.#check();
      }
    } finally {
      for (const id of IDS) await this.#contexts[0]?.clearContext(id);
      for (const storage of this.#storages) await storage.close();
    }
  }

  async #step(step: ConversationStep): Promise<void> {
    switch (step.do) {
      case 'call': {
        const id = IDS[step.id] as string;
        const answer = await answered(() => perform(this.#context(step.by), id, step.op));
        return this.#same(
          answer,
          plainly(() => this.#model.call(id, step.op)),
        );
      }
      case 'turns':
        return this.#turns(IDS[step.id] as string, step.turns);
      case 'list': {
        const { do: _, by, age, ...query } = step;
        const asked = { ...query, ...(age !== undefined && { updatedBefore: this.#now() - age }) };
        const found: unknown[] = [];
        for await (const { contextId, userId } of this.#context(by).listContexts(asked))
          found.push({ contextId, userId });
        return this.#same(found, this.#model.list(asked));
      }
      case 'cleanup': {
        const before = this.#now() - step.hours * 3_600_000;
        const removed = await this.#context(step.by).cleanupOldContexts({ maxAgeHours: step.hours });
        return this.#same(removed, this.#model.cleanup(before));
      }
      case 'advance':
        return this.#subject.clock?.advance(step.ms);
      case 'reopen':
        await this.#storages[step.by]?.close();
        this.#storages[step.by] = this.#subject.open();
        this.#contexts[step.by] = this.#contextOver(this.#storages[step.by] as StateStorage);
    }
  }

  /** Takes turns at once. In which order they came they say by themselves. */
  async #turns(id: string, turns: readonly Taken[]): Promise<void> {
    const order: { turn: Taken; task: string; answers: unknown[] }[] = [];
    const results = await Promise.all(
      turns.map((turn) => {
        const task = `task ${this.#tasks++}`;
        const { messageId, userId } = turn;
        this.#work.set(task, { turn, begun: (answers) => order.push({ turn, task, answers }) });
        const message = { ...(messageId !== undefined && { messageId }), ...(userId !== undefined && { userId }) };
        return answered(() =>
          this.#handle(
            { id: task, text: '', contextId: id, tenantId: this.#tenantId, ...message } as never,
            this.#context(turn.by),
          ),
        );
      }),
    );
    for (const { turn, task, answers } of order) {
      const result = results[turns.indexOf(turn)];
      const wanted: unknown[] = [];
      const came = plainly(() => {
        this.#model.outlive(id, turn.userId);
        const plain = new PlainTurn(this.#model, id, turn.userId);
        assert.equal(plain.reply(messageOf(turn)), undefined, 'a message was handled twice');
        this.#plainActs(turn, plain, id, wanted);
        if (turn.throws) throw new PlainError('thrown');
        const message = messageOf(turn);
        plain.commit(message === undefined || this.#settings.dedupe === 0 ? undefined : [message, task]);
        return task;
      });
      this.#same(answers, wanted);
      this.#same(result, came);
      const message = messageOf(turn);
      if (message !== undefined && came === task) {
        this.#replied.set(message, [...(this.#replied.get(message) ?? []), task]);
      }
    }
    // The others were refused, or their message had been handled.
    for (const [at, turn] of turns.entries()) {
      if (order.some((one) => one.turn === turn)) continue;
      const plain = new PlainTurn(this.#model, id, turn.userId);
      const refused = turn.userId !== undefined && plain.owner !== undefined && plain.owner !== turn.userId;
      if (turns.length === 1)
        this.#same(results[at], refused ? { code: 'CONTEXT_FORBIDDEN' } : plain.reply(messageOf(turn))?.[1]);
      else if (!refused)
        assert.ok(
          this.#replied.get(messageOf(turn) as string)?.includes(results[at]),
          `no reply: ${JSON.stringify(results[at])}`,
        );
    }
  }

  async #acts(
    acts: readonly Act[],
    context: ConversationContext,
    id: string,
    answers: unknown[],
    by: number,
  ): Promise<void> {
    for (const act of acts) {
      switch (act.do) {
        case 'call':
          answers.push(await answered(() => perform(context, id, act.op)));
          break;
        case 'elsewhere':
          answers.push(await answered(() => perform(context, other(id), act.op)));
          break;
        case 'aside':
          answers.push(await answered(() => perform(this.#context(by + 1), id, act.op)));
          break;
        case 'nested': {
          const inner: unknown[] = [];
          const task = `task ${this.#tasks++}`;
          const nested = withState(async (_: unknown, within: ConversationContext) => {
            await this.#acts(act.acts, within, id, inner, by);
            if (act.throws) throw new Error('thrown');
            return 'done';
          });
          const message = {
            id: task,
            text: '',
            contextId: id,
            tenantId: this.#tenantId,
            messageId: 'm',
            ...(act.userId !== undefined && { userId: act.userId }),
          };
          const result = await answered(() => nested(message as never, this.#context(by)));
          answers.push([inner, result]);
        }
      }
    }
  }

  #plainActs({ acts, userId }: Pick<Taken, 'acts' | 'userId'>, turn: PlainTurn, id: string, answers: unknown[]): void {
    for (const act of acts) {
      switch (act.do) {
        case 'call':
          answers.push(plainly(() => turn.call(act.op)));
          break;
        case 'elsewhere':
          answers.push(plainly(() => this.#model.call(other(id), act.op, userId)));
          break;
        case 'aside':
          answers.push(plainly(() => this.#model.call(id, act.op)));
          break;
        case 'nested': {
          const inner: unknown[] = [];
          const result = plainly(() => {
            turn.nested(act.userId, (within) => {
              this.#plainActs(act, within, id, inner);
              if (act.throws) throw new PlainError('thrown');
            });
            return 'done';
          });
          answers.push([inner, result]);
        }
      }
    }
  }

  async #check(): Promise<void> {
    for (const [at, id] of IDS.entries()) {
      for (const op of [{ op: 'variables' }, { op: 'history' }, { op: 'getTtl' }] as const) {
        const seen = await perform(this.#context(at), id, op);
        this.#same(seen, new PlainTurn(this.#model, id, undefined).call(op));
      }
    }
  }

  #same(actual: unknown, wanted: unknown): void {
    if (this.#subject.clock) assert.deepStrictEqual(actual, wanted);
    else assert.deepStrictEqual(roughly(actual), roughly(wanted));
  }

  #context(by: number): ConversationContext {
    return this.#contexts[by % this.#contexts.length] as ConversationContext;
  }

  #contextOver(storage: StateStorage): ConversationContext {
    const { ttl, load, max, dedupe } = this.#settings;
    const { clock } = this.#subject;
    const history = { load, max };
    return new ConversationContext(storage, { scope: { tenantId: this.#tenantId }, ttl, history, dedupe, clock });
  }

  #now(): number {
    return this.#subject.clock?.now() ?? Date.now();
  }
}

/** What tells a message from others: of another user it is another. */
function messageOf({ messageId, userId = '' }: Taken): string | undefined {
  return messageId && `${userId} ${messageId}`;
}

/** The conversation that a handler reaches beside its own. */
function other(id: string): string {
  return id === IDS[0] ? IDS[1] : IDS[0];
}

async function perform(context: ConversationContext, id: string, op: Op): Promise<unknown> {
  switch (op.op) {
    case 'get':
      return context.getVariable(id, op.name);
    case 'delete':
      return context.deleteVariable(id, op.name);
    case 'set':
      return context.setVariable(id, op.name, op.value);
    case 'increment':
      return context.incrementVariable(id, op.name, op.by);
    case 'append':
      return context.appendToVariable(id, op.name, op.item);
    case 'update':
      return context.updateVariable(id, op.name, () => op.value);
    case 'variables': {
      const all = Object.entries(await context.getVariables(id));
      return all
        .map(([name, value]) => [`var:${name}`, value])
        .sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1));
    }
    case 'getMeta':
      return context.getMetadata(id, op.name);
    case 'setMeta':
      return context.setMetadata(id, op.name, op.value);
    case 'deleteMeta':
      return context.deleteMetadata(id, op.name);
    case 'say':
      return context.addToHistory(id, 'user', op.content);
    case 'history': {
      const { op: _, ...options } = op;
      const messages = await context.getHistory(id, {
        ...options,
        countTokens: ({ content }) => (content as string).length,
      });
      return messages.map(({ content }) => content);
    }
    case 'clearHistory':
      return context.clearHistory(id);
    case 'clear':
      return context.clearContext(id);
    case 'getTtl':
      return context.getTtl(id);
    case 'setTtl':
      return context.setTtl(id, op.ttl);
    case 'save':
      return context.save(id);
    case 'getOrCreate': {
      const state = await context.getOrCreate(id, op.userId === undefined ? {} : { userId: op.userId });
      const variables = Object.entries(state.variables).map(([name, value]) => [`var:${name}`, value]);
      return {
        userId: state.userId,
        variables: variables.sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1)),
        history: state.history.map(({ content }) => content),
        total: state.historyTotal,
      };
    }
  }
}

async function answered(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return await call();
  } catch (error) {
    if (isAgentUpError(error)) return { code: error.code };
    if ((error as Error).message === 'thrown') return { code: 'thrown' };
    throw error;
  }
}

function plainly(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    if (error instanceof PlainError) return { code: error.code };
    throw error;
  }
}

/** Where time is real, seconds that are left are known to some hundred. */
function roughly(answer: unknown): unknown {
  if (Array.isArray(answer)) return answer.map(roughly);
  return typeof answer === 'number' && answer >= 10_000 ? Math.round(answer / 10_000) : answer;
}
