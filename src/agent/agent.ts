import { inspect } from 'node:util';
import { Bag } from '../bag.js';
import type { AgentConfig } from '../config/index.js';
import type { Conversation } from '../conversation/conversation.js';
import type { ConversationContext } from '../conversation/conversation-context.js';
import { isInTurn } from '../conversation/run-turn.js';
import { AgentUpError } from '../errors.js';
import { collectionsInJson } from '../skill/collections-in-json.js';
import { isInputRequired } from '../skill/input-required.js';
import { contextIdOf, conversationOf } from '../skill/invoke-stateful.js';
import { type CallNotes, withRuntime } from '../skill/state-runtime.js';
import type { StatefulOptions } from '../skill/stateful-options.js';
import { drain, drainWebStream, isReplyStream, isWebStream } from '../skill/stream-turn.js';
import { checkTask, type Task } from '../skill/task.js';
import { type CallRunner, ToolBox } from '../skill/tool-box.js';
import { cancellable, throwIfCancelled } from '../skill/turn-signal.js';
import { within } from '../within.js';
import { AgentConversations } from './agent-conversations.js';
import type { ConfigRuntime } from './config-runtime.js';
import type { LoadedSkill } from './load-skill.js';
import { Router } from './route.js';

/** What an agent answers. */
export interface Reply {
  readonly skillId: string;
  /** The id of the conversation that the handler ran on. */
  readonly contextId: string;
  /** What the handler returned. */
  readonly value: unknown;
  /** The same as text: a string as it is, nothing as `''`, a question as the question, anything else as JSON or, where JSON cannot hold it, as Node shows it. */
  readonly text: string;
  /** The message had been handled before: this is the reply of then, and the handler did not run again. */
  readonly redelivered: boolean;
}

export interface AgentParts {
  readonly config: AgentConfig;
  readonly skills: readonly LoadedSkill[];
  readonly runtime: ConfigRuntime;
  readonly context: ConversationContext;
}

export interface RouteOptions {
  /** The id of the skill, instead of the routing of the configuration. */
  readonly skill?: string | undefined;
  /** The scope of handlers that name none. Default `conversation`. */
  readonly scope?: StatefulOptions['scope'];
}

export interface HandleOptions extends RouteOptions {
  /** Hears of each chunk of a handler that streams; the handler goes on once it returns. */
  readonly onChunk?: ((chunk: unknown) => void | Promise<void>) | undefined;
}

export interface CloseOptions {
  /**
   * How long to wait for what runs, in milliseconds; what runs longer finds its storage closed, and keeps nothing.
   * Default: until all has ended.
   */
  readonly timeoutMs?: number | undefined;
}

/** Skills over their storages. Made by `createAgent`. */
export class Agent {
  readonly config: AgentConfig;
  readonly skills: readonly LoadedSkill[];
  /** The conversations on the configured storage, for code outside a handler. */
  readonly context: ConversationContext;
  /** The tools of all skills. */
  readonly tools: ToolBox;
  /** Conversations as wholes: started, ended, listed. */
  readonly conversations: AgentConversations;
  readonly #runtime: ConfigRuntime;
  readonly #router: Router;
  readonly #running = new Bag<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor({ config, skills, runtime, context }: AgentParts) {
    this.config = config;
    this.skills = skills;
    this.context = context;
    this.#runtime = runtime;
    this.#router = new Router(skills, config.agent.default_skill);
    const run: CallRunner = (call) => this.#inRuntime({ redelivered: false }, call);
    this.tools = new ToolBox(skills, run);
    this.conversations = new AgentConversations({ skills, runtime, context, run });
  }

  get name(): string {
    return this.config.agent.name;
  }

  /**
   * Routes a task to a skill, runs its turn, and returns the reply once everything is committed. A task whose
   * `messageId` was handled before gets the reply of then.
   * @throws SKILL_NOT_FOUND, AGENT_CLOSED, INVALID_ARGUMENT for what is no task or no option, whatever the turn fails with, and what the handler threw
   */
  async handle(task: Task, options: HandleOptions = {}): Promise<Reply> {
    checkTask(task);
    checkHandleOptions(options);
    const skill = this.#router.route(task.text, options.skill);
    const { kind, options: stateful } = skill.handler;
    const contextId = kind === 'stateful' ? contextIdOf(stateful, task, options.scope) : (task.contextId ?? task.id);
    const notes: CallNotes = { redelivered: false, scope: options.scope, skill: skill.id, onChunk: options.onChunk };
    const call = async (): Promise<unknown> => {
      throwIfCancelled(task);
      const reply = skill.call(task);
      const emit = async (chunk: unknown): Promise<void> => {
        throwIfCancelled(task);
        await options.onChunk?.(chunk);
      };
      if (isReplyStream(reply)) return drain(reply, emit);
      const value = await reply;
      return isWebStream(value) ? drainWebStream(value, task, emit) : value;
    };
    // A turn ends by itself when its task is cancelled.
    const value = await this.#inRuntime(notes, kind === 'stateful' ? call : async () => cancellable(task, call));
    return { skillId: skill.id, contextId, value, text: textOfValue(value), redelivered: notes.redelivered };
  }

  /**
   * The memory that a task's turn would have, on the storage and in the scope of its skill: to show or mend it outside
   * a turn. `undefined` where the skill keeps no state.
   * @throws SKILL_NOT_FOUND, CONTEXT_ID_MISSING
   */
  async conversation(task: Task, options: RouteOptions = {}): Promise<Conversation | undefined> {
    const { handler } = this.#router.route(task.text, options.skill);
    if (handler.kind !== 'stateful') return undefined;
    return conversationOf(await this.#runtime.contextFor(handler.options), handler.options, task, options.scope);
  }

  /**
   * Takes no more tasks, waits for those that run, and releases storages and connections. Idempotent: the options of
   * the first call count.
   */
  close({ timeoutMs }: CloseOptions = {}): Promise<void> {
    this.#closing ??= (async () => {
      const ended = Promise.allSettled(this.#running.values());
      await (timeoutMs === undefined ? ended : within(timeoutMs, ended, () => {}, { ref: false }));
      await this.#runtime.close();
    })();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @throws AGENT_CLOSED, but not for what a handler that still runs calls */
  async #inRuntime<R>(notes: CallNotes, call: () => Promise<R>): Promise<R> {
    if (this.#closing && !isInTurn()) throw new AgentUpError('AGENT_CLOSED', 'the agent has been closed');
    const running = withRuntime(this.#runtime, notes, call);
    const place = this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(place);
    }
  }
}

const HANDLE_OPTIONS: Readonly<Record<keyof HandleOptions, true>> = { skill: true, scope: true, onChunk: true };

/** An option that is spelled wrong would send the message to another skill without a word. */
function checkHandleOptions(options: object): void {
  for (const name in options) {
    if (Object.hasOwn(HANDLE_OPTIONS, name)) continue;
    throw new AgentUpError('INVALID_ARGUMENT', `handle() has no option ${JSON.stringify(name)}`, {
      argument: name,
      fix: `use one of ${Object.keys(HANDLE_OPTIONS).join(', ')}`,
    });
  }
}

function textOfValue(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  if (isInputRequired(value)) return value.question;
  try {
    // Of a function or symbol it makes nothing.
    return JSON.stringify(value, collectionsInJson) ?? inspect(value);
  } catch {
    // The turn is committed: a BigInt or a cycle in what it returned must not make it look as if it had failed.
    return inspect(value);
  }
}
