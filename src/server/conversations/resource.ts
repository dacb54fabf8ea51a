import { toIso } from '../../clock.js';
import { GRACE, isOver, LIFE, lifeOf } from '../../conversation/life.js';
import { decodeMessages } from '../../conversation/message.js';
import { type ConversationResource, RESERVED_METADATA } from '../../conversation-api/schemas.js';
import { decode, type Token } from '../../json.js';
import type { RecordKey } from '../../storage/keys.js';
import type { StateRecord } from '../../storage/state-storage.js';

export const VARIABLE = 'var:';
export const METADATA = 'meta:';

/** The API's own entries, as fields of the record. */
export const FIELDS = Object.fromEntries(RESERVED_METADATA.map((name) => [name, `${METADATA}${name}`])) as Record<
  (typeof RESERVED_METADATA)[number],
  string
>;

const RESERVED: ReadonlySet<string> = new Set(Object.values(FIELDS));

/** Is it there, and not only because the hooks for its end have not run yet? */
export function isThere(record: StateRecord | undefined, now: number): record is StateRecord {
  if (!record) return false;
  const life = lifeOf(record.fields.get(LIFE));
  return life === undefined || !isOver(life, record.updatedAt, now);
}

/** Names one state of a conversation: another one of the same id, made later, has other tags. */
export function etagOf({ createdAt, version }: StateRecord): string {
  return `"${createdAt.toString(36)}-${version.toString(36)}"`;
}

/** A record as the API shows it. */
export function resourceOf(key: RecordKey, record: StateRecord): ConversationResource {
  const { fields, owner } = record;
  const own = (name: keyof typeof FIELDS): unknown => decoded(fields.get(FIELDS[name]));
  const optional = (name: keyof typeof FIELDS): Record<string, unknown> => {
    const value = own(name);
    return value === undefined ? {} : { [name]: value };
  };
  const life = lifeOf(fields.get(LIFE));
  const expiresAt = record.expiresAt && record.expiresAt - (life?.ttl === undefined ? 0 : GRACE * 1000);
  return {
    sessionId: key.id,
    subDomain: key.scope[0] ?? '',
    ...(owner !== undefined && { userId: owner }),
    ...optional('localId'),
    ...optional('botId'),
    isActive: own('endedAt') === undefined,
    ...optional('currentIntent'),
    ...optional('currentStep'),
    context: { ...entries(fields, VARIABLE), previousMessages: decodeMessages<unknown>(record.log) },
    messageCount: record.logTotal,
    ...optional('lastUserMessage'),
    ...optional('currentOrderId'),
    orderHistory: (own('orderHistory') as string[] | undefined) ?? [],
    metadata: entries(fields, METADATA),
    createdAt: toIso(record.createdAt),
    updatedAt: toIso(record.updatedAt),
    ...(expiresAt !== undefined && { expiresAt: toIso(expiresAt) }),
    ...optional('endedAt'),
  };
}

function entries(fields: ReadonlyMap<string, Token>, prefix: string): Record<string, unknown> {
  const found = [...fields].filter(([field]) => field.startsWith(prefix) && !RESERVED.has(field));
  return Object.fromEntries(found.map(([field, token]) => [field.slice(prefix.length), decode(token)]));
}

function decoded(token: Token | undefined): unknown {
  return token === undefined ? undefined : decode(token);
}
