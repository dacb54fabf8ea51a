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

/** The handler methods of a class, its own before inherited ones, each name once. */
export function handlersOf(target: { readonly prototype: object }): { name: string; metadata: HandlerMetadata }[] {
  return methodsWith(target, handlerMetadata);
}

/** The handler that answers messages, of those that a class has: `handle`, or the only one. */
export function mainHandler(
  handlers: { name: string; metadata: HandlerMetadata }[],
): { name: string; metadata: HandlerMetadata } | undefined {
  return handlers.find(({ name }) => name === 'handle') ?? (handlers.length === 1 ? handlers[0] : undefined);
}

/** The methods of a class that `read` finds something recorded on, as `handlersOf` does. */
export function methodsWith<Metadata>(
  target: { readonly prototype: object },
  read: (fn: unknown) => Metadata | undefined,
): { name: string; metadata: Metadata }[] {
  const found = new Map<string, Metadata | undefined>();
  for (
    let level: object | null = target.prototype;
    level && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(level))) {
      if (!found.has(name)) found.set(name, read(property.value));
    }
  }
  return [...found].flatMap(([name, metadata]) => (metadata ? [{ name, metadata }] : []));
}

/** The class of an instance. */
export function classOf(self: unknown): { readonly prototype: object; readonly name: string } | undefined {
  const type = typeof self === 'object' && self !== null ? self.constructor : undefined;
  return typeof type === 'function' ? type : undefined;
}
