import { toIso } from '../../clock.js';
import { appendToken, encode, integerOf, type Token } from '../../json.js';
import type { Plan } from '../changes.js';
import {
  CHECKPOINT,
  type Checkpoint,
  checkpointLine,
  fieldsText,
  type Header,
  isAsWritten,
  type LineSettings,
  type RecentText,
  type Stamp,
  type Step,
} from './line-format.js';

/** Log entries kept in memory with a record; older ones are read from the file. */
export const TAIL = 64;

/** How long a commit id is remembered, and how many of them a checkpoint hands on. */
export const RECENT_MS = 60_000;
const RECENT_IN_CHECKPOINT = 32;

const MEMBERS = ['clear', 'owner', 'set', 'append', 'remove', 'm', 'from'] satisfies (keyof Step)[];

/** What a commit came to, for as long as it may be sent again. */
export interface RecentCommit {
  readonly at: number;
  readonly version: number;
  readonly expiresAt: number | undefined;
  readonly logTotal: number;
  /** Integers that the commit has made, among them what its increments came to. */
  readonly ints: ReadonlyMap<string, number>;
}

/** How a checkpoint is taken: as the state of the record (`trust`), or only where the lines before it cannot tell. */
export type CheckpointRule = 'trust' | 'replay';

/** A record as its journal says. */
export class RecordFold {
  readonly fields = new Map<string, Token>();
  /** The newest entries of the log. */
  tail: Token[] = [];
  logTotal = 0;
  logDropped = 0;
  /** Size of the kept entries, to tell what is worth compacting; and where their log begins in the file. */
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
  /** The ids of all commits since this moment are known. */
  recentSince = 0;
  #recent = new Map<string, RecentCommit>();

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
    for (const [id, recent] of snap.recent) this.#recent.set(id, fromText(recent));
    this.checkpoint = { offset, length: text.length };
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
    this.#trim();
    this.updatedAt = settings.at;
    this.version = settings.version;
    if (settings.expiresAt !== undefined) this.expiresAt = settings.expiresAt ?? undefined;
    if (settings.ownTtl !== undefined) this.ownTtl = settings.ownTtl;
    if (settings.id !== undefined) this.#remember(settings.id, new Map(planned.incremented));
  }

  /** The line that hands everything on to readers, as it would stand at `offset`. */
  checkpointLine(offset: number, flags: Pick<Checkpoint, 'base' | 'edited'> = {}, log?: Checkpoint['log']): string {
    const recent: [string, RecentText][] = [...this.#recent]
      .filter(([, { at }]) => at > this.updatedAt - RECENT_MS)
      .slice(-RECENT_IN_CHECKPOINT)
      .map(([id, commit]) => [id, toText(commit)]);
    const content = {
      at: toIso(this.updatedAt),
      v: this.version,
      offset,
      created: toIso(this.createdAt),
      owner: this.owner ?? null,
      expires: this.expiresAt === undefined ? null : toIso(this.expiresAt),
      ttl: this.ownTtl ?? null,
      log: log ?? { total: this.logTotal, dropped: this.logDropped, bytes: this.logBytes, offset: this.logOffset },
      recent,
      ...flags,
    };
    return checkpointLine(content, fieldsText(this.fields));
  }

  /** What the commit with this id came to, if it was applied in the last minute. */
  recent(id: string, now: number): RecentCommit | undefined {
    const commit = this.#recent.get(id);
    return commit && commit.at > now - RECENT_MS ? commit : undefined;
  }

  /** Keeps what another state of this record knew of its commits. */
  inherit(other: RecordFold | undefined): void {
    if (!other) return;
    for (const [id, commit] of this.#recent) other.#recent.set(id, commit);
    this.#recent = other.#recent;
    this.recentSince = Math.min(this.recentSince, other.recentSince);
  }

  /** Of the ids of the last minute a checkpoint has only the newest; the moment from which on it has all. */
  knowsSince({ at, recent }: Checkpoint): void {
    const oldest = recent.length < RECENT_IN_CHECKPOINT ? undefined : recent[0]?.[1].at;
    this.recentSince = oldest === undefined ? Date.parse(at) - RECENT_MS : Date.parse(oldest);
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
    if (stamp.ttl !== undefined) this.ownTtl = stamp.ttl;
    for (const [field, value] of Object.entries(stamp.inc ?? {})) ints.set(field, value);
    if (stamp.id !== undefined) this.#remember(stamp.id, ints);
    return true;
  }

  #step(step: Step, plain: boolean, offset: number, ints: Map<string, number> | undefined): void {
    if (step.clear === 'fields') this.#clearFields();
    else if (step.clear === 'log') this.#clearLog(offset);
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
    if (step.from !== undefined) this.#drop(step.from);
  }

  #checkpoint(snap: Checkpoint, text: string, offset: number, rule: CheckpointRule): boolean {
    if (!isCheckpoint(snap)) return false;
    if (!isPlain(text) && !canBeEncoded(snap)) return false;
    // Played back from the start, the lines speak for themselves, unless it is this line that somebody has edited.
    if ((rule === 'replay' || snap.offset !== offset) && snap.base !== true && isAsWritten(text)) {
      this.version = Math.max(this.version, snap.v);
      this.checkpoint = { offset, length: text.length };
      return true;
    }
    this.#adopt(snap, text, offset);
    if (rule === 'trust') this.#adoptLog(snap);
    return true;
  }

  #set(field: string, token: Token): void {
    const before = this.fields.get(field);
    this.fieldBytes += before === undefined ? field.length + token.length + 4 : token.length - before.length;
    this.fields.set(field, token);
  }

  #remove(field: string): void {
    const before = this.fields.get(field);
    if (before === undefined) return;
    this.fieldBytes -= field.length + before.length + 4;
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
    this.logBytes += entry.length + 8;
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

  #remember(id: string, ints: ReadonlyMap<string, number>): void {
    const { updatedAt: at, version, expiresAt, logTotal } = this;
    for (const [old, commit] of this.#recent) {
      if (commit.at > at - RECENT_MS) break;
      this.#recent.delete(old);
    }
    this.#recent.set(id, { at, version, expiresAt, logTotal, ints });
  }
}

/** Is this what a checkpoint line holds, as far as it must be known to use it? */
export function isCheckpoint(snap: unknown): snap is Checkpoint {
  const { at, v, created, log, recent, set } = (snap ?? {}) as Partial<Checkpoint>;
  return (
    [at, created].every((time) => typeof time === 'string' && !Number.isNaN(Date.parse(time))) &&
    typeof v === 'number' &&
    typeof log?.total === 'number' &&
    Array.isArray(recent) &&
    recent.every((one) => Array.isArray(one) && momentOf(one[1]?.at) !== undefined) &&
    typeof set === 'object' &&
    set !== null
  );
}

/** The checkpoint that a line holds, if it is one and stands where it was written. */
export function checkpointOf(line: string, offset: number): Checkpoint | undefined {
  if (!line.startsWith(CHECKPOINT)) return undefined;
  try {
    const { snap } = JSON.parse(line) as { snap: unknown };
    return isCheckpoint(snap) && snap.offset === offset ? snap : undefined;
  } catch {
    return undefined;
  }
}

/** The log entries of a line, and where it says that the log begins; `undefined` where it cannot be read. */
export function entriesOf(line: string): { entries: Token[]; from: number | undefined } | undefined {
  const found = { entries: [] as Token[], from: undefined as number | undefined };
  if (line.startsWith(CHECKPOINT)) return found;
  try {
    const parsed: unknown = JSON.parse(line);
    const plain = isPlain(line);
    const steps: unknown[] = Array.isArray(parsed) ? parsed : [parsed];
    if (!steps.every(isStep)) return undefined;
    for (const step of steps as Step[]) {
      if (step.clear === 'log') found.entries = [];
      if (step.m !== undefined) found.entries.push(tokenOf(step.m, plain));
      if (step.from !== undefined) found.from = step.from;
    }
    return found;
  } catch {
    return undefined;
  }
}

/** In such a line no number is one that `JSON.stringify` would change: `-0`, or what is read as infinite. */
function isPlain(line: string): boolean {
  return !/[[:,]\s*-0|\d[eE]\+?\d{3}/.test(line);
}

function canBeEncoded(value: unknown): boolean {
  try {
    encode(value);
    return true;
  } catch {
    return false;
  }
}

/** Could this stand in a commit line? Members that it does not have are as good as absent. */
function isStep(element: unknown): boolean {
  if (typeof element !== 'object' || element === null) return false;
  const { set = {}, append = {}, remove = [], from = 0, owner = null } = element as Step;
  return (
    typeof set === 'object' &&
    set !== null &&
    typeof append === 'object' &&
    append !== null &&
    Array.isArray(remove) &&
    Number.isSafeInteger(from) &&
    (owner === null || typeof owner === 'string')
  );
}

function momentOf(iso: string | null | undefined): number | undefined {
  const moment = Date.parse(iso ?? '');
  return Number.isNaN(moment) ? undefined : moment;
}

function tokenOf(value: unknown, plain: boolean): Token {
  return plain ? JSON.stringify(value) : encode(value);
}

function toText({ at, version, logTotal, expiresAt, ints }: RecentCommit): RecentText {
  return {
    at: toIso(at),
    v: version,
    total: logTotal,
    expires: expiresAt === undefined ? null : toIso(expiresAt),
    ints: Object.fromEntries(ints),
  };
}

function fromText({ at, v, total, expires, ints }: RecentText): RecentCommit {
  return {
    at: Date.parse(at),
    version: v,
    logTotal: total,
    expiresAt: momentOf(expires),
    ints: new Map(Object.entries(ints ?? {})),
  };
}
