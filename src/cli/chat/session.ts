import { randomUUID } from 'node:crypto';
import type { Agent, Reply } from '../../agent/agent.js';
import type { LoadedSkill } from '../../agent/load-skill.js';
import type { Conversation } from '../../conversation/conversation.js';
import { AgentUpError } from '../../errors.js';
import { isInputRequired } from '../../skill/input-required.js';
import type { Task } from '../../skill/task.js';

/** One conversation on the command line: what stays the same from message to message. */
export class ChatSession {
  readonly agent: Agent;
  readonly userId: string | undefined;
  /** Where the agent's project is: what failed in it is shown with its place. */
  readonly directory: string;
  contextId: string;
  /** Always this skill; the agent's own routing when absent. */
  skillId: string | undefined;
  /** The last message of this conversation, and the skill that answered it. */
  #last: { readonly task: Task; readonly skillId: string } | undefined;
  /** The skill whose question the next message answers. */
  #asking: string | undefined;

  constructor(
    agent: Agent,
    options: {
      directory: string;
      context?: string | undefined;
      user?: string | undefined;
      skill?: string | undefined;
    },
  ) {
    this.agent = agent;
    this.directory = options.directory;
    this.userId = options.user;
    this.contextId = options.context ?? newContextId();
    if (options.skill !== undefined) this.choose(options.skill);
  }

  /** Does what the skill, or every skill that may be chosen, remembers end with this process? */
  get forgets(): boolean {
    const { config, skills } = this.agent;
    const asked = skills.filter(({ id }) => this.skillId === undefined || id === this.skillId);
    const own = asked.length > 0 ? asked.map(({ handler }) => handler.options.storage) : [undefined];
    return own.every((storage) => (storage ?? config.state.backend) === 'memory');
  }

  /** Sends a message. @throws whatever the turn fails with */
  async say(text: string): Promise<Reply> {
    const task = this.#task(text);
    const reply = await this.agent.handle(task, { skill: this.skillId ?? this.#asking });
    this.#last = { task, skillId: reply.skillId };
    this.#asking = isInputRequired(reply.value) ? reply.skillId : undefined;
    return reply;
  }

  /** Sends every message to one skill from here on. @throws SKILL_NOT_FOUND */
  choose(skillId: string): void {
    if (!this.agent.skills.some(({ id }) => id === skillId)) {
      const known = this.agent.skills.map(({ id }) => id).join(', ');
      throw new AgentUpError('SKILL_NOT_FOUND', `there is no skill ${JSON.stringify(skillId)}`, {
        skillId,
        fix: known === '' ? 'create one: npx agentup skill create' : `use one of: ${known}`,
      });
    }
    this.skillId = skillId;
  }

  /** Begins another conversation. */
  restart(contextId: string = newContextId()): void {
    this.contextId = contextId;
    this.#last = undefined;
    this.#asking = undefined;
  }

  /** What the skill at work remembers of this conversation; nothing for a skill without state. */
  async memory(): Promise<Conversation | undefined> {
    const skill = this.#skillAtWork();
    if (!skill) return this.agent.context.conversation(this.contextId);
    return this.agent.conversation(this.#last?.task ?? this.#task(''), { skill: skill.id });
  }

  #task(text: string): Task {
    return {
      id: randomUUID(),
      contextId: this.contextId,
      text,
      ...(this.userId !== undefined && { userId: this.userId }),
    };
  }

  #skillAtWork(): LoadedSkill | undefined {
    const id = this.skillId ?? this.#last?.skillId ?? this.agent.config.agent.default_skill;
    return this.agent.skills.find((skill) => skill.id === id) ?? this.agent.skills[0];
  }
}

function newContextId(): string {
  return `chat-${randomUUID().slice(0, 8)}`;
}
