import { createHash } from 'node:crypto';
import { classOf, skillMetadata } from './handler-metadata.js';

/** Tells the handlers of a skill apart, and skills from each other, alike in every process: `skill-id.method`. */
export function methodName(self: unknown, { name }: { readonly name: string }): string {
  const owner = ownerName(classOf(self));
  return owner ? `${owner}.${name}` : name;
}

/** What a class is called, alike in every process: the id of its skill, or its name. */
export function ownerName(type: { readonly name: string } | undefined): string | undefined {
  return skillMetadata(type)?.id ?? type?.name;
}

/** The same for a function; one without a name goes by what it says. */
export function functionName(handler: (...args: never[]) => unknown): string {
  return handler.name || createHash('sha256').update(String(handler)).digest('base64url').slice(0, 12);
}
