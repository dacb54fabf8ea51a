import type { Conversation } from '../conversation/conversation.js';
import type { ConversationResource } from '../conversation-api/schemas.js';
import { decode, encode, type JsonValue } from '../json.js';
import type { RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';
import type { SyncTarget } from './outbox-entry.js';
import { fieldsOf, type StateMapping, sameValue, toFields, toPaths, withValue } from './state-mapping.js';

const SPACE = 'sync-base';
/** As long as a conversation may rest between two pulls and still be told who changed what. Thirty days. */
const BASE_TTL = 2_592_000;

/** A field that both sides have changed since they last agreed. */
export interface SyncConflict {
  /** `context.deliveryAddress`, `currentIntent`. */
  readonly field: string;
  /** What both had; absent where that is not known. */
  readonly base?: unknown;
  readonly local: unknown;
  readonly remote: unknown;
  readonly chosen: 'local' | 'remote';
}

/** Who is right in a conflict. */
export type Preference = 'local' | 'remote' | ((conflict: Omit<SyncConflict, 'chosen'>) => 'local' | 'remote');

/** A message of the remote. */
export type RemoteMessage = ConversationResource['context']['previousMessages'][number];

/** What both sides agreed on when they last met. */
export interface Base {
  readonly session: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** Messages that the remote had. */
  readonly messages: number;
}

export interface Merge {
  /** The state with what was taken over from the remote. */
  readonly state: Record<string, unknown>;
  /** Paths that were taken over, and their values; `undefined`: removed. */
  readonly changed: Record<string, unknown>;
  readonly conflicts: readonly SyncConflict[];
  /** What others have said since. */
  readonly messages: readonly RemoteMessage[];
  readonly base: Base;
}

export interface MergeInput {
  readonly state: Readonly<Record<string, unknown>>;
  readonly remote: ConversationResource;
  readonly base: Base | undefined;
  /** Fields whose local value is still on its way to the remote. */
  readonly pending: ReadonlySet<string>;
  readonly mapping: StateMapping;
  readonly prefer: Preference;
  /** How our own messages are marked. */
  readonly source: string;
}

/**
 * Brings two sides together, field by field. A field that only one side has changed since they last agreed takes that
 * side's value; one that is on its way to the remote counts as changed here. Where both have changed it, `prefer` says.
 */
export function merge({ state, remote, base: known, pending, mapping, prefer, source }: MergeInput): Merge {
  const base = known?.session === remote.sessionId ? known : undefined;
  const local = toFields(state, mapping);
  const there = fieldsOf(remote, mapping);
  let merged: Record<string, unknown> = { ...state };
  const changed: Record<string, unknown> = {};
  const conflicts: SyncConflict[] = [];
  for (const field of new Set([...Object.keys(local), ...Object.keys(there), ...Object.keys(base?.fields ?? {})])) {
    const mine = local[field] ?? undefined;
    const theirs = there[field] ?? undefined;
    const before = base?.fields[field];
    if (sameValue(mine, theirs) || sameValue(theirs, before)) continue;
    const isMine = pending.has(field) || !sameValue(mine, before);
    if (isMine) {
      const conflict = { field, ...(before !== undefined && { base: before }), local: mine, remote: theirs };
      const chosen = typeof prefer === 'function' ? prefer(conflict) : prefer;
      conflicts.push({ ...conflict, chosen });
      if (chosen === 'local') continue;
    }
    for (const [path, value] of Object.entries(toPaths(field, theirs, mapping))) {
      changed[path] = value;
      merged = withValue(merged, path.split('.'), value) as Record<string, unknown>;
    }
  }
  const messages = newMessages(remote, base?.messages ?? 0, source);
  return {
    state: merged,
    changed,
    conflicts,
    messages,
    base: { session: remote.sessionId, fields: there, messages: remote.messageCount },
  };
}

/** Those that are not ours, of those that the remote had not when we last looked. */
function newMessages({ context, messageCount }: ConversationResource, seen: number, source: string): RemoteMessage[] {
  const { previousMessages } = context;
  const first = messageCount - previousMessages.length;
  // A remote that was cleared counts anew.
  const known = seen > messageCount ? 0 : seen;
  return previousMessages.filter((message, index) => first + index >= known && message.metadata?.['source'] !== source);
}

/** Writes what a merge has taken over into the local conversation. */
export async function apply(conversation: Conversation, { changed, messages }: Merge): Promise<void> {
  for (const [path, value] of Object.entries(changed)) {
    const [name = '', ...rest] = path.split('.');
    if (rest.length === 0 && value === undefined) await conversation.deleteVariable(name);
    else await conversation.updateVariable(name, (before) => withValue(before, rest, value) ?? null);
  }
  for (const { role, content, metadata, timestamp } of messages) {
    const about = { ...(metadata as { [name: string]: JsonValue } | undefined), saidAt: timestamp };
    await conversation.addToHistory(role, content as JsonValue, about);
  }
}

export async function readBase(storage: StateStorage, target: SyncTarget): Promise<Base | undefined> {
  const token = (await storage.read(baseKey(target)))?.fields.get('base');
  return token === undefined ? undefined : decode<Base>(token);
}

export async function writeBase(storage: StateStorage, target: SyncTarget, base: Base): Promise<void> {
  await storage.commit(baseKey(target), [{ op: 'set', field: 'base', value: encode(base) }], {
    expiry: { set: BASE_TTL },
  });
}

function baseKey({ subDomain, userId }: SyncTarget): RecordKey {
  return { space: SPACE, scope: [subDomain], id: userId };
}
