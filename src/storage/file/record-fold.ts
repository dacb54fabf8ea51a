import { toIso } from '../../clock.js';
import { appendToken, integerOf, type Token } from '../../json.js';
import type { Plan } from '../changes.js';
import {
  type Checkpoint,
  checkpointLine,
  fieldsText,
  type Header,
  isAsWritten,
  type LineSettings,
  type Stamp,
  type Step,
} from './line-format.js';
import { canBeEncoded, isCheckpoint, isPlain, isStep, momentOf, tokenOf } from './line-reading.js';
import { RecentCommits } from './recent-commits.js';
import { StoredReplies } from './stored-replies.js';

/** Log entries kept in memory with a record; older ones are read from the file. */
export const TAIL = 64;

const MEMBERS = ['clear', 'owner', 'set', 'append', 'remove', 'm', 'reply', 'from'] satisfies (keyof Step)[];

/** How a checkpoint is taken: as the state of the record (`trust`), or only where the lines before it cannot tell. */
export type CheckpointRule = 'trust' | 'replay';

/** A record as its journal says. */
export class RecordFold {
  readonly fields = new Map<string, Token>();
  /** The newest entries of the log. */
  tail: Token[] = [];
  logTotal = 0;
  logDropped = 0;
  /**
   * Size of the kept entries as they stand in the file, to tell what is worth compacting; in characters, text that is
   * not Latin would count as garbage for the most part. And where their log begins in the file.
   */
  logBytes = 0;
  logOffset = 0;
  /** Size of the fields. */
  fieldBytes = 0;
  version = 0;
  owner: string | undefined;
  createdAt = 0;
  updatedAt = 0;
  expiresAt: number | undefined;
  ownTtl: number | 'none' | undefined;
  header: Header | undefined;
  /** Where the newest checkpoint begins, and its length. */
  checkpoint = { offset: 0, length: 0 };
  readonly recent = new RecentCommits();
  readonly replies = new StoredReplies();

  isExpired(now: number): boolean {
    return this.expiresAt !== undefined && this.expiresAt <= now;
  }

  /**
   * Folds in the line that begins at `offset`.
   * @returns false, with nothing changed, where it cannot be read
   */
  line(text: string, offset: number, rule: CheckpointRule): boolean {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      return false;
    }
    if (Array.isArray(parsed)) return this.#commit(parsed, text, offset);
    if (typeof parsed !== 'object' || parsed === null) return false;
    if ('snap' in parsed) return this.#checkpoint(parsed.snap as Checkpoint, text, offset, rule);
    if ('agentup' in parsed) return this.#header(parsed as Header);
    // A line that somebody has added by hand.
    return MEMBERS.some((member) => member in parsed) && this.#commit([parsed], text, offset);
  }

  /** Sets everything to what a checkpoint says. */
  #adopt(snap: Checkpoint, text: string, offset: number): void {
    const plain = isPlain(text);
    this.fields.clear();
    this.fieldBytes = 0;
    for (const [field, value] of Object.entries(snap.set)) this.#set(field, tokenOf(value, plain));
    this.version = snap.base ? snap.v : Math.max(this.version, snap.v);
    this.owner = snap.owner ?? undefined;
    this.createdAt = Date.parse(snap.created);
    this.updatedAt = Date.parse(snap.at);
    this.expiresAt = momentOf(snap.expires);
    this.ownTtl = snap.ttl ?? undefined;
    this.recent.read(snap);
    this.replies.replace((snap.replies ?? []).map(([key, value]) => [key, tokenOf(value, plain)] as const));
    this.checkpoint = { offset, length: Buffer.byteLength(text) };
  }

  /** The log as a checkpoint counts it. */
  #adoptLog({ log }: Checkpoint): void {
    this.logTotal = log.total;
    this.logDropped = log.dropped;
    this.logBytes = log.bytes;
    this.logOffset = log.offset;
  }

  /** Applies what a line will say, without parsing it. */
  apply(planned: Plan, settings: LineSettings, offset: number): void {
    if (planned.clearFields) this.#clearFields();
    for (const [field, token] of planned.fields) {
      if (token === undefined) this.#remove(field);
      else this.#set(field, token);
    }
    if (planned.clearLog) this.#clearLog(offset);
    if (planned.owner) this.owner = planned.owner.value;
    for (const entry of planned.log) this.#log(entry);
    if (settings.from !== undefined) this.#drop(settings.from);
    if (settings.replies) this.replies.replace(settings.replies);
    if (settings.idempotency) this.replies.add(settings.idempotency);
    this.#trim();
    this.updatedAt = settings.at;
    this.version = settings.version;
    if (settings.expiresAt !== undefined) this.expiresAt = settings.expiresAt ?? undefined;
    if (settings.ownTtl !== undefined) this.ownTtl = settings.ownTtl ?? undefined;
    if (settings.createdAt !== undefined) this.createdAt = settings.createdAt;
    if (settings.id !== undefined) this.#remember(settings.id, new Map(planned.incremented), settings.sentAt);
  }

  /** The line that hands everything on to readers, as it would stand at `offset`. */
  checkpointLine(offset: number, flags: Pick<Checkpoint, 'base' | 'edited'> = {}, log?: Checkpoint['log']): string {
    const content = {
      at: toIso(this.updatedAt),
      v: this.version,
      offset,
      created: toIso(this.createdAt),
      owner: this.owner ?? null,
      expires: this.expiresAt === undefined ? null : toIso(this.expiresAt),
      ttl: this.ownTtl ?? null,
      log: log ?? { total: this.logTotal, dropped: this.logDropped, bytes: this.logBytes, offset: this.logOffset },
      recent: this.recent.texts(this.updatedAt, flags.base === true),
      ...flags,
    };
    return checkpointLine(content, fieldsText(this.fields), this.replies.text());
  }

  #header(header: Header): boolean {
    if (this.header || typeof header.agentup !== 'number' || typeof header.id !== 'string') return false;
    this.header = header;
    this.createdAt = this.updatedAt = Date.parse(header.created) || 0;
    return true;
  }

  #commit(elements: unknown[], text: string, offset: number): boolean {
    if (!elements.every(isStep)) return false;
    const stamp = (elements[0] ?? {}) as Stamp;
    const at = stamp.at === undefined ? this.updatedAt : Date.parse(stamp.at);
    if (!Number.isFinite(at)) return false;
    const plain = isPlain(text);
    if (!plain && !canBeEncoded(elements)) return false;
    const ints = new Map<string, number>();
    for (const step of elements as Step[]) this.#step(step, plain, offset, stamp.id === undefined ? undefined : ints);
    this.#trim();
    if (this.createdAt === 0) this.createdAt = at;
    this.updatedAt = at;
    this.version = Math.max(this.version + 1, stamp.v ?? 0);
    if (stamp.expires !== undefined) this.expiresAt = momentOf(stamp.expires);
    if (stamp.ttl !== undefined) this.ownTtl = stamp.ttl ?? undefined;
    if (stamp.created !== undefined) this.createdAt = Date.parse(stamp.created);
    for (const [field, value] of Object.entries(stamp.inc ?? {})) ints.set(field, value);
    if (stamp.id !== undefined) this.#remember(stamp.id, ints, momentOf(stamp.sent));
    return true;
  }

  #step(step: Step, plain: boolean, offset: number, ints: Map<string, number> | undefined): void {
    if (step.clear === 'fields') this.#clearFields();
    else if (step.clear === 'log') this.#clearLog(offset);
    else if (step.clear === 'replies') this.replies.clear();
    if (step.owner !== undefined) this.owner = step.owner ?? undefined;
    for (const [field, value] of Object.entries(step.set ?? {})) {
      const token = tokenOf(value, plain);
      this.#set(field, token);
      const int = ints && integerOf(token);
      if (int !== undefined) ints?.set(field, int);
    }
    for (const [field, items] of Object.entries(step.append ?? {})) {
      let list = this.fields.get(field) ?? '[]';
      // Somebody has put something else there by hand: that stays.
      if (!list.startsWith('[') || !Array.isArray(items)) continue;
      for (const item of items) list = appendToken(list, tokenOf(item, plain));
      this.#set(field, list);
    }
    if (Array.isArray(step.remove)) for (const field of step.remove) this.#remove(field);
    if (step.m !== undefined) this.#log(tokenOf(step.m, plain));
    if (step.reply) this.replies.add({ ...step.reply, reply: tokenOf(step.reply.value, plain) });
    if (step.from !== undefined) this.#drop(step.from);
  }

  #checkpoint(snap: Checkpoint, text: string, offset: number, rule: CheckpointRule): boolean {
    if (!isCheckpoint(snap)) return false;
    if (!isPlain(text) && !canBeEncoded(snap)) return false;
    // Played back from the start, the lines speak for themselves, unless it is this line that somebody has edited.
    const asWritten = isAsWritten(text);
    if ((rule === 'replay' || snap.offset !== offset) && snap.base !== true && asWritten) {
      this.version = Math.max(this.version, snap.v);
      this.checkpoint = { offset, length: Buffer.byteLength(text) };
      return true;
    }
    this.#adopt(snap, text, offset);
    if (rule === 'trust' && snap.offset === offset && asWritten) this.#adoptLog(snap);
    return true;
  }

  #set(field: string, token: Token): void {
    const before = this.fields.get(field);
    this.fieldBytes +=
      before === undefined ? sizeOf(field, token) : Buffer.byteLength(token) - Buffer.byteLength(before);
    this.fields.set(field, token);
  }

  #remove(field: string): void {
    const before = this.fields.get(field);
    if (before === undefined) return;
    this.fieldBytes -= sizeOf(field, before);
    this.fields.delete(field);
  }

  #clearFields(): void {
    this.fields.clear();
    this.fieldBytes = 0;
  }

  #clearLog(offset: number): void {
    this.tail = [];
    this.logTotal = 0;
    this.logDropped = 0;
    this.logBytes = 0;
    this.logOffset = offset;
  }

  #log(entry: Token): void {
    this.tail.push(entry);
    this.logTotal++;
    this.logBytes += Buffer.byteLength(entry) + 8;
  }

  #drop(from: number): void {
    const kept = this.logTotal - this.logDropped;
    const left = Math.max(0, this.logTotal - from);
    if (kept > 0) this.logBytes = Math.round((this.logBytes * Math.min(left, kept)) / kept);
    this.logTotal = Math.max(this.logTotal, from);
    this.logDropped = from;
  }

  #trim(): void {
    const kept = this.logTotal - this.logDropped;
    const { length } = this.tail;
    if (length > kept || length > 2 * TAIL) this.tail = kept === 0 ? [] : this.tail.slice(-Math.min(TAIL, kept));
  }

  #remember(id: string, ints: ReadonlyMap<string, number>, sentAt: number | undefined): void {
    const { updatedAt, version, expiresAt, logTotal } = this;
    this.recent.add(id, { at: sentAt ?? updatedAt, updatedAt, version, expiresAt, logTotal, ints });
  }
}

/** Of a field as a member of an object: with quotes, colon and comma. */
function sizeOf(field: string, token: Token): number {
  return Buffer.byteLength(field) + Buffer.byteLength(token) + 4;
}
