import { AgentUpError } from '../../errors.js';
import { overflow, tooManyFields, wrongType } from '../changes.js';
import { decodeName, encodeName, type RecordKey } from '../keys.js';
import type {
  BeginOptions,
  Carried,
  Change,
  CommitCondition,
  CommitOptions,
  Committed,
  Expiry,
  StateRecord,
} from '../state-storage.js';
import { type ReplyCause, replyCode } from './valkey-errors.js';
import { Words } from './words.js';

/** What a record's system field says. */
export interface Attributes {
  readonly version: number;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
  readonly logTotal: number;
  readonly logDropped: number;
  readonly owner: string | undefined;
  readonly ownTtl: number | 'none' | undefined;
}

/** Reads `version updatedAt expiresAt kept dropped ttl createdAt owner[|…]`; `undefined` where the text is not ours. */
export function parseAttributes(text: string): Attributes | undefined {
  const bar = text.indexOf('|');
  const words = new Words(bar < 0 ? text : text.slice(0, bar));
  const version = words.number();
  const updatedAt = words.number();
  const expires = words.number();
  const kept = words.number();
  const dropped = words.number();
  const ttl = words.next();
  const createdAt = words.number();
  if (words.ended || Number.isNaN(version + updatedAt + expires + kept + dropped + createdAt)) return undefined;
  const owner = words.next();
  return {
    version,
    updatedAt,
    expiresAt: expires === 0 ? undefined : expires,
    logTotal: kept + dropped,
    logDropped: dropped,
    createdAt,
    owner: owner === '' ? undefined : decodeName(owner),
    ownTtl: ttl === '-' ? undefined : ttl === 'none' ? ttl : Number(ttl),
  };
}

/** The record in the answer `{fields, entries, reply?, replies?}`, with one entry a line; `undefined` for `{}`. */
export function parseRecord(reply: unknown, key: RecordKey): StateRecord | undefined {
  const [pairs, entries, left, replies] = reply as [Buffer[]?, Buffer?, Buffer?, Buffer[]?];
  if (!pairs) return undefined;
  const record = recordOf(pairs, entries && entries.length > 0 ? linesOf(entries) : [], left);
  if (!record) throw corrupt(key, 'its system field is not one of ours');
  return replies ? { ...record, replies: parseReplies(replies) } : record;
}

/** The record in what plain commands brought; `undefined` where the system field is not one of ours. */
export function parseSnapshot(
  pairs: readonly Buffer[],
  entries: readonly Buffer[],
  reply: Buffer | null | undefined,
): StateRecord | undefined {
  return recordOf(pairs, parseTokens(entries), reply);
}

function recordOf(pairs: readonly Buffer[], log: string[], left: Buffer | null | undefined): StateRecord | undefined {
  const fields = new Map<string, string>();
  let system = '';
  for (let i = 0; i < pairs.length; i += 2) {
    const name = String(pairs[i]);
    if (name === '') system = String(pairs[i + 1]);
    else fields.set(name, String(pairs[i + 1]));
  }
  const attributes = parseAttributes(system);
  if (!attributes) return undefined;
  const { version, owner, createdAt, updatedAt, expiresAt, ownTtl, logTotal, logDropped } = attributes;
  return {
    fields,
    log,
    logTotal,
    logDropped,
    version,
    owner,
    createdAt,
    updatedAt,
    expiresAt,
    ownTtl,
    reply: left?.length ? String(left) : undefined,
  };
}

const LINE_FEED = 10;
/** About a hundred messages. */
const CUT_BYTES = 32_768;

/**
 * The lines of a text. Texts that are cut out of another keep it in memory as long as they are kept themselves, so that
 * a handler that keeps one message would keep them all: of many each becomes a text of its own, which takes longer.
 */
function linesOf(bytes: Buffer): string[] {
  if (bytes.length <= CUT_BYTES) return String(bytes).split('\n');
  const lines: string[] = [];
  for (let at = 0; at <= bytes.length; ) {
    const end = bytes.indexOf(LINE_FEED, at);
    lines.push(bytes.toString('utf8', at, end < 0 ? bytes.length : end));
    at = end < 0 ? bytes.length + 1 : end + 1;
  }
  return lines;
}

/** What the hash of the replies holds, oldest first. */
function parseReplies(hash: Buffer[]): Map<string, string> {
  const texts = new Map<string, string>();
  for (let i = 0; i < hash.length; i += 2) texts.set(String(hash[i]), String(hash[i + 1]));
  const [first, next] = (texts.get('') ?? '1 1').split(' ').map(Number) as [number, number];
  const replies = new Map<string, string>();
  for (let number = first; number < next; number++) {
    const key = texts.get(`#${number}`) ?? '';
    const reply = texts.get(`=${key}`);
    if (reply !== undefined) replies.set(key, reply);
  }
  return replies;
}

/** The record in the reply of HGETALL. */
export function parseFields(reply: unknown, key: RecordKey): StateRecord | undefined {
  return parseRecord((reply as Buffer[]).length === 0 ? [] : [reply], key);
}

/** Texts of a reply. */
export function parseTokens(reply: unknown): string[] {
  const texts = reply as unknown[];
  for (let i = 0; i < texts.length; i++) texts[i] = String(texts[i]);
  return texts as string[];
}

/** The arguments of `commit.lua`. `indexed`: the record's entry in the index is made. */
export function commitArguments(changes: readonly Change[], options: CommitOptions, indexed: boolean): string[] {
  const { lease, commitId, condition, idempotency, expiry, carried, logMax, maxFields } = options;
  const argv = [
    lease ? encodeName(lease.token) : '',
    lease?.keepMs === undefined ? '0' : duration(lease.keepMs),
    commitId === undefined ? '' : commitId === lease?.token ? '=' : encodeName(commitId),
    indexed ? '1' : '0',
  ];
  if (idempotency) argv.push('?k', idempotency.key, idempotency.reply, String(idempotency.keep));
  if (condition) pushCondition(argv, condition);
  if (expiry) argv.push(...expiryItem(expiry));
  if (carried) argv.push(...carriedItem(carried));
  if (logMax !== undefined) argv.push('max', String(logMax));
  if (maxFields !== undefined) argv.push('cap', String(maxFields));
  if (lease?.next) argv.push(...passingItem(lease.next));
  for (let i = 0; i < changes.length; i++) i = pushChange(argv, changes, i);
  return argv;
}

/** Longer leases would leave the range of exact times. A thousand years will do. */
export function duration(ms: number): string {
  return String(Math.min(ms, 31_557_600_000_000));
}

function passingItem({ token, leaseMs, log = 0, idempotencyKey = '' }: BeginOptions): string[] {
  return ['n', encodeName(token), duration(leaseMs), String(log), idempotencyKey];
}

function expiryItem(expiry: Expiry): [string, string] {
  return 'set' in expiry ? ['es', String(expiry.set)] : ['er', String(expiry.renew)];
}

function carriedItem({ createdAt, updatedAt, expiresAt = 0, ownTtl, logDropped = 0, replies }: Carried): string[] {
  const item = ['c', ...[createdAt, updatedAt, expiresAt, ownTtl ?? '-', logDropped].map(String)];
  if (replies) item.push('k', String(replies.size), ...[...replies].flat());
  return item;
}

function pushCondition(argv: string[], { exists, version, owner, fields }: CommitCondition): void {
  if (exists !== undefined) argv.push('?e', exists ? '1' : '0');
  if (version !== undefined) argv.push('?v', String(version));
  if (owner !== undefined) argv.push('?o', owner === null ? '' : encodeName(owner));
  for (const [field, token] of fields ?? []) {
    if (token === undefined) argv.push('?-', field);
    else argv.push('?=', field, token);
  }
}

/** Adds the change at `index`, and log entries that follow it; returns the index of the last one added. */
function pushChange(argv: string[], changes: readonly Change[], index: number): number {
  const change = changes[index] as Change;
  switch (change.op) {
    case 'set':
      argv.push('s', change.field, change.value);
      break;
    case 'increment':
      argv.push('i', change.field, String(change.by));
      break;
    case 'append':
      argv.push('a', change.field, change.item);
      break;
    case 'remove':
      argv.push('r', change.field);
      break;
    case 'log': {
      const count = argv.push('l', '') - 1;
      let last = index;
      for (let next = changes[last]; next?.op === 'log'; next = changes[++last]) argv.push(oneLine(next.entry));
      argv[count] = String(last - index);
      return last - 1;
    }
    case 'clearLog':
      argv.push('L');
      break;
    case 'clearFields':
      argv.push('F');
      break;
    case 'owner':
      argv.push('o', change.owner === undefined ? '' : encodeName(change.owner));
      break;
    case 'touch':
      argv.push('t');
  }
  return index;
}

/** An entry as it stands among others. `encode` makes no line feed. */
function oneLine(entry: string): string {
  if (!entry.includes('\n')) return entry;
  throw new AgentUpError('INVALID_ARGUMENT', 'an entry is not a token: it holds a line break; make one with encode', {
    argument: 'changes',
  });
}

/** A commit's answer, and the owner, encoded, that the index has to know. */
export interface CommitAnswer {
  readonly answer: Committed;
  readonly owner: string;
}

/** Does a reply of `commit.lua` say that it was done, now or before? Then a text comes first. */
export function isApplied(reply: unknown): boolean {
  return (Array.isArray(reply) ? reply[0] : reply) instanceof Uint8Array;
}

/** Reads a system field, with the sums of the incremented fields behind it. */
export function parseCommitted(reply: unknown, changes: readonly Change[]): CommitAnswer {
  const words = new Words(String(Array.isArray(reply) ? reply[0] : reply));
  const version = words.number();
  const updatedAt = words.number();
  const expires = words.number();
  const logTotal = words.number() + words.number();
  words.next(); // its own ttl
  words.next(); // when it was made
  const owner = words.next();
  const incremented = new Map<string, number>();
  if (!words.ended) {
    for (const change of changes) {
      if (change.op === 'increment' && !incremented.has(change.field)) incremented.set(change.field, words.number());
    }
  }
  const expiresAt = expires === 0 ? undefined : expires;
  return { answer: { committed: true, version, updatedAt, expiresAt, incremented, logTotal }, owner };
}

/** The record of the next turn, behind the answer to the commit that passed its lease on. */
export function parseBegun([, fields, ...more]: readonly unknown[], key: RecordKey): StateRecord | undefined {
  return parseRecord((fields as unknown[]).length === 0 ? [] : [fields, ...more], key);
}

/** The error that a reply of our scripts stands for; the error itself where it is not one of those. */
export function scriptError(error: unknown, key: RecordKey, argv: readonly string[], maxFields = 0): unknown {
  const { cause } = error as { cause?: ReplyCause };
  const code = replyCode(cause);
  const operand = Number(cause?.message.split(' ')[1]);
  const field = argv[operand] ?? '';
  switch (code) {
    case 'LEASE_LOST':
      if (cause?.lost) return unknownOutcome(key, cause);
      return new AgentUpError('LEASE_LOST', `the lease on ${key.id} was lost before the commit`, place(key));
    case 'WRONG_TYPE':
      return wrongType(field, argv[operand - 1] === 'a' ? 'a list' : 'an integer');
    case 'OVERFLOW':
      return overflow(field);
    case 'FIELDS':
      return tooManyFields(maxFields, operand);
    case 'CORRUPT':
    case 'WRONGTYPE':
      return corrupt(key, cause?.message ?? '');
    default:
      return error;
  }
}

/** Sent, its answer lost, sent again and refused: done by the first, or never, and by now nobody remembers. */
function unknownOutcome(key: RecordKey, cause: Error): AgentUpError {
  const why = `the answer to a commit on ${key.id} was lost, and whether it was done cannot be found out any more`;
  return new AgentUpError('STORAGE_UNAVAILABLE', why, { ...place(key), backend: 'valkey', cause });
}

function corrupt(key: RecordKey, why: string): AgentUpError {
  return new AgentUpError('RECORD_CORRUPT', `the record ${key.id} is damaged, and left as it is: ${why}`, {
    ...place(key),
    backend: 'valkey',
  });
}

function place(key: RecordKey): { recordId: string; space: string } {
  return { recordId: key.id, space: key.space };
}
