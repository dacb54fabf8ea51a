import 'reflect-metadata';
import type { StatefulOptions } from './stateful-options.js';

/** What the decorators record. It lies on the method's function, so both decorator dialects record it alike. */
export interface HandlerMetadata {
  readonly kind: 'stateful' | 'stateless';
  // biome-ignore lint/suspicious/noExplicitAny: the options of handlers with tasks of any type are listed together
  readonly options: StatefulOptions<any>;
}

/** What `@skill()` records on the class. */
export interface SkillMetadata {
  readonly id: string;
  readonly name?: string | undefined;
  readonly description?: string | undefined;
}

const HANDLER = 'agentup:handler';
const SKILL = 'agentup:skill';

export function recordHandler(fn: object, metadata: HandlerMetadata): void {
  Reflect.defineMetadata(HANDLER, metadata, fn);
}

/** What was recorded on a handler's function, or `undefined` where it is none. */
export function handlerMetadata(fn: unknown): HandlerMetadata | undefined {
  return typeof fn === 'function' ? (Reflect.getOwnMetadata(HANDLER, fn) as HandlerMetadata | undefined) : undefined;
}

export function recordSkill(target: object, metadata: SkillMetadata): void {
  Reflect.defineMetadata(SKILL, metadata, target);
}

/** What `@skill()` recorded on this very class. */
export function skillMetadata(target: unknown): SkillMetadata | undefined {
  return typeof target === 'function'
    ? (Reflect.getOwnMetadata(SKILL, target) as SkillMetadata | undefined)
    : undefined;
}

/** The decorated methods of a class, its own before inherited ones, each name once. */
export function handlersOf(target: { readonly prototype: object }): { name: string; metadata: HandlerMetadata }[] {
  const found = new Map<string, HandlerMetadata | undefined>();
  for (
    let level: object | null = target.prototype;
    level && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(level))) {
      if (!found.has(name)) found.set(name, handlerMetadata(property.value));
    }
  }
  return [...found].flatMap(([name, metadata]) => (metadata ? [{ name, metadata }] : []));
}
