import type { MessageInput, SyncInput } from '../conversation-api/schemas.js';

/** Whose conversation on the remote. */
export interface SyncTarget {
  /** The tenant there. */
  readonly subDomain: string;
  readonly userId: string;
  /** What this app calls the conversation. */
  readonly localId?: string | undefined;
  readonly botId?: string | undefined;
}

/** One thing to tell the remote. */
export type Work =
  | { readonly op: 'open' }
  /** Intent, step, context, metadata, order: later ones replace earlier ones field by field. */
  | { readonly op: 'state'; readonly body: SyncInput }
  | { readonly op: 'message'; readonly message: MessageInput }
  | { readonly op: 'order'; readonly orderId: string }
  | { readonly op: 'reset' }
  | { readonly op: 'end' };

/** A piece of work as it waits. */
export interface OutboxEntry {
  /** Nobody else's: what makes a delivery count once. */
  readonly id: string;
  /** When it was noted: epoch milliseconds. */
  readonly at: number;
  readonly target: SyncTarget;
  readonly work: Work;
}

/** Entries that go in one request. */
export interface Batch {
  readonly entries: readonly OutboxEntry[];
}

/** Messages that one request may carry, as the API has it. */
const MAX_MESSAGES = 500;
/** Characters of JSON; servers refuse bodies of a mebibyte. */
const MAX_CHARACTERS = 200_000;

/** As many of the first entries as go in one request; at least one. */
export function firstBatch(entries: readonly OutboxEntry[]): Batch {
  const taken: OutboxEntry[] = [];
  let messages = 0;
  let size = 0;
  for (const entry of entries) {
    const { work } = entry;
    const alone = isAlone(work);
    size += JSON.stringify(work).length;
    if (work.op === 'message') messages++;
    if (taken.length > 0 && (alone || messages > MAX_MESSAGES || size > MAX_CHARACTERS || relinks(taken, work))) break;
    taken.push(entry);
    if (alone) break;
  }
  return { entries: taken };
}

/** The idempotency key of a batch: whoever sends these entries again, in whatever process, uses the same. */
export function keyOf({ entries }: Batch): string {
  return `${entries[0]?.id}.${entries.length}`;
}

/** The one sync call that has the effect of these entries, in their order. */
export function bodyOf({ entries }: Batch): SyncInput {
  let body: SyncInput = {};
  const messages: MessageInput[] = [];
  for (const { work } of entries) {
    if (work.op === 'message') messages.push(work.message);
    else if (work.op === 'order') body = { ...body, currentOrderId: work.orderId };
    else if (work.op === 'state') {
      const { context, metadata } = work.body;
      body = {
        ...body,
        ...work.body,
        ...(context && { context: { ...body.context, ...context } }),
        ...(metadata && { metadata: { ...body.metadata, ...metadata } }),
      };
    }
  }
  return messages.length > 0 ? { ...body, messages } : body;
}

/** Two halves of a batch that was refused, to find out which entry is. */
export function halves({ entries }: Batch): Batch[] {
  const middle = Math.ceil(entries.length / 2);
  return [{ entries: entries.slice(0, middle) }, { entries: entries.slice(middle) }];
}

function isAlone({ op }: Work): boolean {
  return op === 'reset' || op === 'end';
}

/** A request links one order; a second one would hide the first. */
function relinks(taken: readonly OutboxEntry[], work: Work): boolean {
  const order = orderOf(work);
  return order !== undefined && taken.some(({ work: other }) => (orderOf(other) ?? order) !== order);
}

function orderOf(work: Work): string | undefined {
  if (work.op === 'order') return work.orderId;
  return work.op === 'state' ? work.body.currentOrderId : undefined;
}
