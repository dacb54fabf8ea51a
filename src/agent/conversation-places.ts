import type { ConversationContext } from '../conversation/conversation-context.js';
import type { StatefulOptions } from '../skill/stateful-options.js';
import { keyText, type RecordKey } from '../storage/keys.js';
import type { ConfigRuntime } from './config-runtime.js';
import type { LoadedSkill } from './load-skill.js';

/** One record that a context id means: skills on one storage and in one scope share it. */
export interface Place {
  readonly context: ConversationContext;
  readonly contextId: string;
  readonly key: RecordKey;
  readonly skills: LoadedSkill[];
}

/** Whose conversation a context id means, and the scope of skills that name none. */
export interface Whose {
  readonly userId?: string | undefined;
  readonly tenantId?: string | undefined;
  readonly scope?: StatefulOptions['scope'];
}

/** What a context id means to some skills; where none of them keeps state, what it means on the configured storage. */
export async function placesOf(
  contextId: string,
  skills: readonly LoadedSkill[],
  { userId, tenantId, scope = 'conversation' }: Whose,
  { runtime, context: configured }: { readonly runtime: ConfigRuntime; readonly context: ConversationContext },
): Promise<Place[]> {
  const places: Place[] = [];
  const add = (base: ConversationContext, kind: 'conversation' | 'user' | 'session', skill?: LoadedSkill): void => {
    const id = kind === 'user' ? userId : contextId;
    // Without a user there is no such memory.
    if (id === undefined || (kind === 'session' && userId === undefined)) return;
    const context = base.scoped({ kind, userId, tenantId });
    const key = context.keyOf(id);
    let place = places.find((other) => {
      return other.context.storage === base.storage && keyText(other.key) === keyText(key);
    });
    if (!place) {
      place = { context, contextId: id, key, skills: [] };
      places.push(place);
    }
    if (skill) place.skills.push(skill);
  };
  for (const skill of skills) {
    if (skill.handler.kind !== 'stateful') continue;
    add(await runtime.contextFor(skill.handler.options), skill.handler.options.scope ?? scope, skill);
  }
  if (places.length === 0) add(configured, scope);
  return places;
}

/** Whose conversation a key means: the scope it was made from. */
export function scopeOf({ space, scope, id }: RecordKey, owner: string | undefined) {
  if (space === 'users') return { kind: 'user' as const, tenantId: scope[0], userId: id };
  if (space === 'contexts') return { kind: 'conversation' as const, tenantId: scope[0], userId: owner };
  return { kind: 'session' as const, tenantId: scope.length > 1 ? scope[0] : undefined, userId: scope.at(-1) };
}
