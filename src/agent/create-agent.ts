import type { Clock } from '../clock.js';
import type { AgentConfig, AgentConfigInput, SkillConfig } from '../config/index.js';
import { AgentUpError, isAgentUpError } from '../errors.js';
import type { Logger } from '../logger.js';
import { skillMetadata } from '../skill/handler-metadata.js';
import { ToolBox } from '../skill/tool-box.js';
import { Agent } from './agent.js';
import { checkSource } from './check-source.js';
import { ConfigRuntime } from './config-runtime.js';
import { bindSkill, type LoadedSkill, loadSkill, type SkillTarget } from './load-skill.js';

export interface CreateAgentOptions {
  /** Where to look for `agent_config.yaml`, and what relative paths start from when a configuration is given as an object. Default: the working directory. */
  readonly cwd?: string | undefined;
  /** What `${NAME}` in the configuration refers to. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Skills given as code: classes with `@skill({ id })`, beside those the configuration names. */
  readonly skills?: readonly SkillTarget[] | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * Makes an agent from a configuration: the path of an `agent_config.yaml`, the configuration as an object, or nothing:
 * then the file in the working directory or above it. Opens the storage, loads every skill.
 * @throws CONFIG_NOT_FOUND, CONFIG_INVALID with all findings, SKILL_LOAD_FAILED; INVALID_ARGUMENT for `skills` that are no list, and for
 *   code in the configuration
 */
export async function createAgent(
  source?: string | AgentConfigInput,
  options: CreateAgentOptions = {},
): Promise<Agent> {
  const { config, directory } = await configOf(source, options);
  const skills: LoadedSkill[] = [];
  for (const skill of config.skills) skills.push(await loadSkill(skill, directory));
  for (const target of listed(options.skills ?? [])) skills.push(register(target, skills));
  refuseSharedTools(skills);
  const { logger, clock } = options;
  const runtime = new ConfigRuntime({ state: config.state, caches: config, directory, logger, clock, skills });
  return new Agent({ config, skills, runtime, context: await runtime.contextFor({}) });
}

function listed(targets: readonly SkillTarget[]): readonly SkillTarget[] {
  if (Array.isArray(targets)) return targets;
  throw new AgentUpError('INVALID_ARGUMENT', `skills is a list of classes and functions, not a ${typeof targets}`, {
    argument: 'skills',
    fix: 'put it in brackets: { skills: [MySkill] }',
  });
}

function refuseSharedTools(skills: readonly LoadedSkill[]): void {
  try {
    new ToolBox(skills);
  } catch (error) {
    if (!isAgentUpError(error)) throw error;
    throw new AgentUpError('SKILL_LOAD_FAILED', error.message, { ...error.details, cause: error });
  }
}

async function configOf(
  source: string | AgentConfigInput | undefined,
  { cwd = process.cwd(), env = process.env }: CreateAgentOptions,
): Promise<{ config: AgentConfig; directory: string }> {
  if (typeof source === 'object' && source !== null) checkSource(source);
  const { loadConfig, parseConfig } = await import('../config/index.js');
  if (typeof source === 'object') return { config: parseConfig(source), directory: cwd };
  return loadConfig({ cwd, env, ...(source !== undefined && { file: source }) });
}

function register(target: SkillTarget, others: readonly LoadedSkill[]): LoadedSkill {
  if (typeof target !== 'function') {
    const what = target === null ? 'null' : typeof target;
    throw new AgentUpError('SKILL_LOAD_FAILED', `a skill given as code is a class or a function, not ${what}`, {
      fix: 'put the class itself, or what withState() returned, into `skills`',
    });
  }
  const id = skillMetadata(target)?.id ?? target.name;
  const fail = (message: string, fix: string, cause?: unknown): AgentUpError =>
    new AgentUpError('SKILL_LOAD_FAILED', `skill ${id || 'without a name'}: ${message}`, { skillId: id, fix, cause });
  if (!id)
    throw fail(
      'has no id',
      'put @skill({ id }) above the class, or name the function: withState(async function my_skill(task) { … })',
    );
  if (others.some((other) => other.id === id))
    throw fail('there is another skill with this id', 'give it an id of its own');
  const config: SkillConfig = { id, handler: '', keywords: [], patterns: [], priority: 0, tags: [] };
  return bindSkill(config, target, fail);
}
