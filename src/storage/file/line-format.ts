import { crc32 } from 'node:zlib';
import { toIso } from '../../clock.js';
import type { Token } from '../../json.js';
import type { Plan } from '../changes.js';
import type { RecordKey } from '../keys.js';
import type { Change, Idempotency } from '../state-storage.js';

/** The newest format this code writes and reads. */
export const FORMAT = 1;

/** The first line of a journal. */
export interface Header {
  readonly agentup: number;
  /** Tells two files of one name apart. */
  readonly gen?: string;
  readonly id: string;
  readonly scope?: readonly string[];
  readonly created: string;
}

/** What the first element of a commit line says. Times are ISO 8601. */
export interface Stamp {
  readonly at: string;
  readonly v?: number;
  /** `null`: never; absent: as before. */
  readonly expires?: string | null;
  /** A time to live of the record's own; `null`: none, whatever it had. */
  readonly ttl?: number | 'none' | null;
  /** When it was made, where it comes from another storage. */
  readonly created?: string;
  /** Of the commit, so that the same one is not applied again. */
  readonly id?: string;
  /** When one with an id was made, where `at` comes from another storage. */
  readonly sent?: string;
  /** What increments came to, where a later change of the same commit hides it. */
  readonly inc?: Readonly<Record<string, number>>;
}

/** One element of a commit line after its stamp. Several members of one element apply in the order given here. */
export interface Step {
  readonly clear?: 'fields' | 'log' | 'replies';
  readonly owner?: string | null;
  readonly set?: Readonly<Record<string, unknown>>;
  readonly append?: Readonly<Record<string, readonly unknown[]>>;
  readonly remove?: readonly string[];
  readonly m?: unknown;
  readonly reply?: ReplyText;
  /** The log begins at this position: older entries have been dropped. */
  readonly from?: number;
}

/** What came of the work that an idempotency key names. Of these lines the newest `keep` count. */
export interface ReplyText {
  readonly key: string;
  readonly value: unknown;
  readonly keep: number;
}

/** Everything a record came to so far, so that a reader need not start at the top. */
export interface Checkpoint {
  readonly at: string;
  readonly v: number;
  /** Where this line begins in its file. Elsewhere it is void: the file has been edited before it. */
  readonly offset: number;
  readonly created: string;
  readonly owner: string | null;
  readonly expires: string | null;
  readonly ttl: number | 'none' | null;
  /** `offset`: of the line where the present log begins. */
  readonly log: { readonly total: number; readonly dropped: number; readonly bytes: number; readonly offset: number };
  readonly recent: readonly (readonly [string, RecentText])[];
  /** By idempotency key, oldest first; absent where there are none. */
  readonly replies?: readonly (readonly [string, unknown])[];
  readonly set: Readonly<Record<string, unknown>>;
  /** Counts also where lines before it say otherwise: those that it sums up are gone. */
  readonly base?: true;
  /** Somebody had edited the file: what was read of it before counts no longer. */
  readonly edited?: true;
}

/** A commit that may be sent again, in a checkpoint. */
export interface RecentText {
  readonly at: string;
  /** What it said when the record was written, where that is another moment. */
  readonly updated?: string;
  readonly v: number;
  readonly total: number;
  readonly expires: string | null;
  readonly ints: Readonly<Record<string, number>>;
}

export interface LineSettings {
  readonly at: number;
  readonly version: number;
  /** `null`: never; absent: as before. */
  readonly expiresAt?: number | null | undefined;
  /** `null`: none; absent: as before. */
  readonly ownTtl?: number | 'none' | null | undefined;
  /** Absent: as before. */
  readonly createdAt?: number | undefined;
  readonly from?: number | undefined;
  /** Of the commit. */
  readonly id?: string | undefined;
  /** Absent: `at`. */
  readonly sentAt?: number | undefined;
  readonly idempotency?: Idempotency | undefined;
  /** Instead of those that are kept. */
  readonly replies?: ReadonlyMap<string, Token> | undefined;
}

/** Every line of a file ends with this; no token holds one. */
export const NEWLINE = '\n';

/** What the first line of a journal begins with. */
export const BEGINNING = '{"agentup":';

/** What a checkpoint line begins with. */
export const CHECKPOINT = '{"snap":';
const SUM = ',"sum":';

/** The first line of a journal. */
export function headerLine(key: Pick<RecordKey, 'id' | 'scope'>, gen: string, createdAt: number): string {
  const scope = key.scope.length === 0 ? '' : `"scope":${JSON.stringify(key.scope)},`;
  return `{"agentup":${FORMAT},"gen":"${gen}","id":${JSON.stringify(key.id)},${scope}"created":"${toIso(createdAt)}"}\n`;
}

/** The line of one commit: values as they are now, lists as what was added to them. */
export function commitLine(planned: Plan, changes: readonly Change[], settings: LineSettings): string {
  const { at, version, expiresAt, ownTtl, createdAt, from, id, sentAt, idempotency, replies } = settings;
  let line = `[{"at":"${toIso(at)}","v":${version}`;
  if (expiresAt !== undefined) line += `,"expires":${isoOrNull(expiresAt ?? undefined)}`;
  if (ownTtl !== undefined) line += `,"ttl":${JSON.stringify(ownTtl)}`;
  if (createdAt !== undefined) line += `,"created":"${toIso(createdAt)}"`;
  if (id !== undefined) line += `,"id":${JSON.stringify(id)}`;
  if (id !== undefined && sentAt !== undefined) line += `,"sent":"${toIso(sentAt)}"`;
  if (id !== undefined && planned.incremented.size > 0) line += hiddenIncrements(planned);
  line += '}';
  if (planned.clearFields) line += ',{"clear":"fields"}';
  if (planned.clearLog) line += ',{"clear":"log"}';
  if (planned.owner) line += `,{"owner":${JSON.stringify(planned.owner.value ?? null)}}`;
  const added = planned.clearFields ? undefined : onlyAppended(changes);
  let sets = '';
  let removed = '';
  for (const [field, token] of planned.fields) {
    if (token === undefined) removed += `${removed === '' ? '' : ','}${JSON.stringify(field)}`;
    else if (!added?.has(field)) sets += `${sets === '' ? '' : ','}${JSON.stringify(field)}:${token}`;
  }
  if (sets !== '') line += `,{"set":{${sets}}}`;
  if (removed !== '') line += `,{"remove":[${removed}]}`;
  if (added) for (const [field, items] of added) line += `,{"append":{${JSON.stringify(field)}:[${items.join(',')}]}}`;
  for (const entry of planned.log) line += `,{"m":${entry}}`;
  if (idempotency) line += replyStep(idempotency);
  if (replies) line += ',{"clear":"replies"}';
  for (const [key, reply] of replies ?? []) line += replyStep({ key, reply, keep: replies?.size ?? 0 });
  if (from !== undefined) line += `,{"from":${from}}`;
  return `${line}]\n`;
}

function replyStep({ key, reply, keep }: Idempotency): string {
  return `,{"reply":{"key":${JSON.stringify(key)},"value":${reply},"keep":${keep}}}`;
}

/** A checkpoint as a line. `set` and `replies` are texts already; everything else of `content` is small. */
export function checkpointLine(content: Omit<Checkpoint, 'set' | 'replies'>, set: string, replies: string): string {
  const rest = JSON.stringify(content);
  const text = `${rest.slice(0, -1)}${replies === '' ? '' : `,"replies":[${replies}]`},"set":{${set}}}`;
  return `${CHECKPOINT}${text}${SUM}${crc32(text)}}\n`;
}

/** The fields of a record as the members of a JSON object. */
export function fieldsText(fields: ReadonlyMap<string, Token>): string {
  let text = '';
  for (const [field, token] of fields) text += `${text === '' ? '' : ','}${JSON.stringify(field)}:${token}`;
  return text;
}

/** Has nobody changed this checkpoint line since it was written? What an editor puts at the end of lines is no change. */
export function isAsWritten(line: string): boolean {
  const end = line.lastIndexOf(SUM);
  return line.slice(end + SUM.length).trimEnd() === `${crc32(line.slice(CHECKPOINT.length, end))}}`;
}

export function isoOrNull(epochMs: number | undefined): string {
  return epochMs === undefined ? 'null' : `"${toIso(epochMs)}"`;
}

/** Tells whether a text that is to go into a line would tear it apart; a token made by `encode` never does. */
export function tearsLine(line: string): boolean {
  return line.indexOf(NEWLINE) !== line.length - 1;
}

function hiddenIncrements({ fields, incremented }: Plan): string {
  const hidden: Record<string, number> = Object.create(null);
  let any = false;
  for (const [field, value] of incremented) {
    if (fields.get(field) === String(value)) continue;
    hidden[field] = value;
    any = true;
  }
  return any ? `,"inc":${JSON.stringify(hidden)}` : '';
}

/** Fields that a change list does nothing to but append, with what it appends. */
function onlyAppended(changes: readonly Change[]): Map<string, Token[]> | undefined {
  let found: Map<string, Token[]> | undefined;
  for (const change of changes) {
    if (change.op !== 'append') continue;
    found ??= new Map();
    const items = found.get(change.field);
    if (items) items.push(change.item);
    else found.set(change.field, [change.item]);
  }
  if (!found) return undefined;
  for (const change of changes) if ('field' in change && change.op !== 'append') found.delete(change.field);
  return found;
}
