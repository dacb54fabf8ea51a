import type { z } from 'zod';
import type { Clock } from '../../clock.js';
import { toIso } from '../../clock.js';
import { LIFE, lifeOf, outlived } from '../../conversation/life.js';
import { encodeMessage } from '../../conversation/message.js';
import type { messageInput, syncBody } from '../../conversation-api/schemas.js';
import { decode, encode, type JsonValue } from '../../json.js';
import type { Change, CommitCondition, StateRecord } from '../../storage/state-storage.js';
import { FIELDS, METADATA, VARIABLE } from './resource.js';

type Message = z.output<typeof messageInput>;
type Sync = z.output<typeof syncBody>;

/** What a request comes to, and what of the record it was made from: if that has changed, it is made anew. */
export interface Edit {
  readonly changes: Change[];
  readonly from?: CommitCondition;
  /** Another time to live, in seconds. */
  readonly ttl?: number | 'none';
}

/** Intent and step; what is not given stays. */
export function intentChanges({ currentIntent, currentStep }: Pick<Sync, 'currentIntent' | 'currentStep'>): Change[] {
  return [
    ...(currentIntent === undefined ? [] : [set(FIELDS.currentIntent, currentIntent)]),
    ...(currentStep === undefined ? [] : [set(FIELDS.currentStep, currentStep)]),
  ];
}

/** Entries merged into the context or the metadata; `null` removes one. */
export function mergeChanges(
  kind: typeof VARIABLE | typeof METADATA,
  given: Readonly<Record<string, unknown>>,
): Change[] {
  return Object.entries(given).map(([name, value]) =>
    value === null ? { op: 'remove', field: kind + name } : set(kind + name, value),
  );
}

/** Messages for the history, and the last one of the user. */
export function messageChanges(messages: readonly Message[], clock: Clock): Change[] {
  const last = messages.findLast(({ role }) => role === 'user');
  return [
    ...messages.map(({ role, content, timestamp, metadata }): Change => {
      const said = timestamp === undefined ? clock : { now: () => Date.parse(timestamp) };
      return { op: 'log', entry: encodeMessage(role, content as JsonValue, metadata, said) };
    }),
    ...(last ? [set(FIELDS.lastUserMessage, last.content)] : []),
  ];
}

/** Links an order; one that is linked already only becomes the current one. */
export function orderEdit(orderId: string, record: StateRecord): Edit {
  const history = record.fields.get(FIELDS.orderHistory);
  const linked = history !== undefined && decode<unknown[]>(history).includes(orderId);
  return {
    changes: [
      set(FIELDS.currentOrderId, orderId),
      ...(linked ? [] : [{ op: 'append' as const, field: FIELDS.orderHistory, item: encode(orderId) }]),
    ],
    from: { fields: new Map([[FIELDS.orderHistory, history]]) },
  };
}

/** Everything of a `PUT …/sync`, for one commit. */
export function syncEdit(body: Sync, record: StateRecord, clock: Clock): Edit {
  const order = body.currentOrderId === undefined ? { changes: [] } : orderEdit(body.currentOrderId, record);
  return {
    ...order,
    changes: [
      ...intentChanges(body),
      ...mergeChanges(VARIABLE, body.context ?? {}),
      ...mergeChanges(METADATA, body.metadata ?? {}),
      ...order.changes,
      ...messageChanges(body.messages ?? [], clock),
      { op: 'touch' },
    ],
  };
}

/** Context, messages, intent, step and current order go; who it is with, and which orders there were, stays. */
export function resetEdit(record: StateRecord): Edit {
  const gone = [FIELDS.currentIntent, FIELDS.currentStep, FIELDS.currentOrderId, FIELDS.lastUserMessage];
  const fields = [...record.fields.keys()].filter((field) => field.startsWith(VARIABLE) || gone.includes(field));
  return {
    changes: [...fields.map((field): Change => ({ op: 'remove', field })), { op: 'clearLog' }, { op: 'touch' }],
    from: { version: record.version },
  };
}

/** Another time to live, in the same commit as the key under which that is asked for. */
export function extendEdit(ttl: number | 'none', record: StateRecord): Edit {
  const token = record.fields.get(LIFE);
  const life = lifeOf(token);
  if (life?.ttl === undefined) return { changes: [{ op: 'touch' }], ttl };
  return {
    changes: [set(LIFE, { ...life, ttl }), { op: 'touch' }],
    from: { fields: new Map([[LIFE, token]]) },
    ttl: outlived(ttl),
  };
}

/** Ends it; where hooks wait for that, they are owed it from here on. */
export function endEdit(record: StateRecord, clock: Clock): Edit {
  const changes = [set(FIELDS.endedAt, toIso(clock.now()))];
  const token = record.fields.get(LIFE);
  const life = lifeOf(token);
  const from = { fields: new Map([[LIFE, token]]) };
  if (life?.ttl === undefined) return { changes, from };
  return { changes: [...changes, set(LIFE, { ...life, ended: true })], from };
}

function set(field: string, value: unknown): Change {
  return { op: 'set', field, value: encode(value) };
}
