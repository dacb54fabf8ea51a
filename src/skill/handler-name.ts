import { createHash } from 'node:crypto';
import { skillMetadata } from './handler-metadata.js';

/** Tells the handlers of a skill apart, and skills from each other, alike in every process: `skill-id.method`. */
export function methodName(self: unknown, { name }: { readonly name: string }): string {
  const type = typeof self === 'object' && self !== null ? self.constructor : undefined;
  const owner = skillMetadata(type)?.id ?? type?.name;
  return owner ? `${owner}.${name}` : name;
}

/** The same for a function; one without a name goes by what it says. */
export function functionName(handler: (...args: never[]) => unknown): string {
  return handler.name || createHash('sha256').update(String(handler)).digest('base64url').slice(0, 12);
}
