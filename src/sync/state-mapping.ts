import type { SyncInput } from '../conversation-api/schemas.js';

/** A field of the API that an app's value may go to. */
export type RemoteField = `context.${string}` | `metadata.${string}` | 'currentStep' | 'currentOrderId';

/** Where an app's state says what the conversation is about. */
export interface IntentRule {
  /** All of these paths hold these values. */
  readonly when: Readonly<Record<string, unknown>>;
  readonly intent: string;
}

/** How an app's state and the fields of the API correspond, in both directions. */
export interface StateMapping {
  /** Paths in the app's state, `cart.items`, to the API's fields. */
  readonly fields: Readonly<Record<string, RemoteField>>;
  /** The first that holds names the intent; the first with that intent is what a remote intent comes back as. */
  readonly intents?: readonly IntentRule[] | undefined;
}

/** What CartaAI's apps call things. */
export const cartaaiMapping: StateMapping = {
  fields: {
    'cart.items': 'context.selectedItems',
    'cart.total': 'context.orderTotal',
    user_location: 'context.deliveryAddress',
    payment_method: 'context.paymentMethod',
    customer_name: 'context.customerName',
    current_order_id: 'currentOrderId',
  },
  // The stage of an order says more than the workflow that it is part of.
  intents: [
    { when: { order_stage: 'cart' }, intent: 'order' },
    { when: { order_stage: 'checkout' }, intent: 'delivery' },
    { when: { order_stage: 'payment' }, intent: 'payment' },
    { when: { workflow: 'menu' }, intent: 'menu' },
  ],
};

/** Fields of the API with their values; `currentIntent` is one. `null` removes. */
export type FieldValues = Readonly<Record<string, unknown>>;

/** The API's fields that a state has something to say about. What the state does not hold is left alone. */
export function toFields(state: Readonly<Record<string, unknown>>, mapping: StateMapping): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [path, field] of Object.entries(mapping.fields)) {
    const value = valueAt(state, path);
    // An order can be linked, not unlinked.
    if (value !== undefined && !(field === 'currentOrderId' && value === null)) fields[field] = value;
  }
  const rule = mapping.intents?.find(({ when }) =>
    Object.entries(when).every(([path, value]) => sameValue(valueAt(state, path), value)),
  );
  if (rule) fields['currentIntent'] = rule.intent;
  return fields;
}

/** The body of a sync call. */
export function toBody(fields: FieldValues): SyncInput {
  const body: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(fields)) {
    const [section, ...rest] = field.split('.');
    if (section === 'context' || section === 'metadata') {
      const entries = (body[section] ??= {}) as Record<string, unknown>;
      define(entries, rest.join('.'), value);
    } else body[field] = value;
  }
  return body as SyncInput;
}

/** The values of the mapped fields in something that has the shape of a conversation or of a sync call. */
export function fieldsOf(source: object, mapping: StateMapping): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const field of new Set<string>([
    ...Object.values(mapping.fields),
    ...(mapping.intents ? ['currentIntent'] : []),
  ])) {
    const [section = '', ...rest] = field.split('.');
    const inside: unknown = (source as Record<string, unknown>)[section];
    const value = rest.length === 0 ? inside : own(inside, rest.join('.'));
    if (value !== undefined) fields[field] = value;
  }
  return fields;
}

/** What a field of the API is in the app's state: paths and their values. */
export function toPaths(field: string, value: unknown, mapping: StateMapping): Record<string, unknown> {
  if (field === 'currentIntent') {
    return { ...mapping.intents?.find(({ intent }) => intent === value)?.when };
  }
  const paths = Object.entries(mapping.fields).filter(([, mapped]) => mapped === field);
  return Object.fromEntries(paths.map(([path]) => [path, value]));
}

/** The state with a value at a path; nothing of the old one is changed. `undefined` removes. */
export function withValue(state: unknown, path: readonly string[], value: unknown): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return value;
  const copy: Record<string, unknown> = { ...(isObject(state) ? state : {}) };
  const inner = withValue(own(copy, name), rest, value);
  if (inner === undefined) delete copy[name];
  else define(copy, name, inner);
  return copy;
}

export function valueAt(state: unknown, path: string): unknown {
  let value = state;
  for (const name of path.split('.')) value = own(value, name);
  return value;
}

/** Equal as JSON, whatever the order of names. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => name in b && sameValue(a[name], b[name]));
}

function own(value: unknown, name: string): unknown {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Assigning would set the prototype where the name is `__proto__`. */
function define(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}
