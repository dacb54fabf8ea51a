import { statSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { SkillConfig } from '../config/index.js';
import { AgentUpError, isAgentUpError, messageOf } from '../errors.js';
import {
  type HandlerMetadata,
  handlerMetadata,
  handlersOf,
  mainHandler,
  skillMetadata,
} from '../skill/handler-metadata.js';
import { type Hooks, hooksOf } from '../skill/hooks.js';
import type { Task } from '../skill/task.js';
import { ToolBox } from '../skill/tool-box.js';
import { type BoundTool, toolsOn } from '../skill/tool-metadata.js';
import { importModule } from './import-module.js';
import { loadFix } from './load-fix.js';
import { placeOf } from './place-of.js';

/** A skill the agent can call. */
export interface LoadedSkill {
  readonly id: string;
  readonly name: string;
  readonly description: string | undefined;
  readonly config: SkillConfig;
  readonly handler: HandlerMetadata;
  /** What `@skill()` says its id is, where the handler is a class that has one. */
  readonly declaredId: string | undefined;
  readonly call: (task: Task) => unknown;
  /** Of the class; a function has neither tools nor hooks. */
  readonly instance: object | undefined;
  readonly tools: readonly BoundTool[];
  readonly hooks: Hooks | undefined;
}

/** A class with decorated methods, or a function made by `withState()`. */
// biome-ignore lint/suspicious/noExplicitAny: constructors and handlers of every signature
export type SkillTarget = (new () => any) | ((task: any) => unknown);

/**
 * Loads the code behind one entry of `skills`.
 * @throws SKILL_LOAD_FAILED naming the skill, the file and the cause
 */
export async function loadSkill(config: SkillConfig, directory: string): Promise<LoadedSkill> {
  const [path = '', exportName] = config.handler.split('#');
  const file = resolve(directory, path);
  const fail = (message: string, fix: string, cause?: unknown): AgentUpError =>
    new AgentUpError('SKILL_LOAD_FAILED', `skill ${config.id}: ${message}`, {
      skillId: config.id,
      file,
      fix,
      ...(cause !== undefined && { cause }),
    });
  const found = statSync(file, { throwIfNoEntry: false });
  if (found?.isDirectory()) throw fail(`${path} is a directory`, 'name a file in it');
  if (!found) throw fail(`the handler file ${path} does not exist`, 'correct `handler`, or create the file');
  let module: Record<string, unknown>;
  try {
    module = await importModule(file);
  } catch (error) {
    const { line, message, file: at } = placeOf(error, directory);
    const where = at === undefined ? '' : ` (${relative(directory, at)}:${line})`;
    throw fail(`${path} cannot be loaded: ${message}${where}`, loadFix(error, file) ?? 'correct the file', error);
  }
  const target = pick(module, exportName, config.id);
  if (target === undefined) {
    const names = Object.keys(module).join(', ') || 'nothing';
    const several = Object.keys(module).filter((name) => isSkillTarget(module[name]));
    if (exportName === undefined && several.length > 1) {
      throw fail(
        `${path} exports several skills (${several.join(', ')})`,
        `name the one that is meant: handler: ${path}#${several[0]}`,
      );
    }
    throw exportName === undefined
      ? fail(
          `${path} exports no class with a decorated method and no withState() function (it exports ${names})`,
          'put @stateful() or @handler() on a method, or name the export: handler: file#Export',
        )
      : fail(`${path} has no export ${exportName} (it exports ${names})`, 'correct the name behind # in `handler`');
  }
  return bindSkill(config, target, fail);
}

/** The callable skill for a class or function. */
export function bindSkill(
  config: SkillConfig,
  target: unknown,
  fail: (message: string, fix: string, cause?: unknown) => AgentUpError,
): LoadedSkill {
  const declared = skillMetadata(target);
  const common = {
    id: config.id,
    name: config.name ?? declared?.name ?? config.id,
    description: config.description ?? declared?.description,
    config,
    declaredId: declared?.id,
  };
  const own = handlerMetadata(target);
  if (own) {
    const call = target as LoadedSkill['call'];
    return { ...common, handler: own, call, instance: undefined, tools: [], hooks: undefined };
  }
  const handlers = isClass(target) ? handlersOf(target) : [];
  const chosen = mainHandler(handlers);
  if (!chosen || !isClass(target)) {
    throw handlers.length > 1
      ? fail(
          `${(target as { name: string }).name} has several decorated methods (${handlers.map(({ name }) => name).join(', ')})`,
          'name the one that answers messages `handle`',
        )
      : fail(
          `${typeof target === 'function' ? target.name || 'the export' : 'the export'} has no decorated method`,
          'put @stateful() or @handler() above the method that answers messages',
        );
  }
  let instance: Record<string, (task: Task) => unknown>;
  try {
    instance = new target() as Record<string, (task: Task) => unknown>;
  } catch (error) {
    throw fail(`its constructor threw: ${messageOf(error)}`, 'a skill is made without arguments', error);
  }
  return {
    ...common,
    handler: chosen.metadata,
    call: (task) => instance[chosen.name]?.(task),
    instance,
    tools: soundTools(instance, fail),
    hooks: hooksOf(instance),
  };
}

/** The tools of a skill, each of which can be described to a model. */
function soundTools(
  instance: object,
  fail: (message: string, fix: string, cause?: unknown) => AgentUpError,
): readonly BoundTool[] {
  const tools = toolsOn(instance);
  try {
    new ToolBox([{ id: 'this skill', tools }]).list();
  } catch (error) {
    if (!isAgentUpError(error)) throw error;
    throw fail(error.message, error.details.fix ?? 'correct @tool()', error);
  }
  return tools;
}

function pick(module: Record<string, unknown>, name: string | undefined, id: string): unknown {
  if (name !== undefined) return Object.hasOwn(module, name) ? module[name] : undefined;
  const candidates = Object.values(module).filter(isSkillTarget);
  const { default: preferred } = module;
  if (isSkillTarget(preferred)) return preferred;
  return (
    candidates.find((target) => skillMetadata(target)?.id === id) ??
    (candidates.length === 1 ? candidates[0] : undefined)
  );
}

function isSkillTarget(value: unknown): value is SkillTarget {
  return handlerMetadata(value) !== undefined || (isClass(value) && handlersOf(value).length > 0);
}

function isClass(value: unknown): value is { new (): unknown; readonly prototype: object; readonly name: string } {
  return typeof value === 'function' && typeof value.prototype === 'object' && value.prototype !== null;
}
