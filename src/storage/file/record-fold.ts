import { appendToken, decode, encodeParsed, type Token } from '../../json.js';
import type { Plan } from '../changes.js';

/** The newest format this code writes and reads. */
export const FORMAT = 1;

/** Log entries kept in memory with a record; older ones are read from the file. */
const TAIL = 50;

interface Header {
  readonly agentup: number;
  /** Tells two files of one name apart. */
  readonly gen: string;
  readonly id: string;
  readonly scope?: readonly string[];
  readonly created: string;
}

/** What the first element of a commit line says; times are ISO 8601, `expires: null` never. */
interface Stamp {
  readonly at: string;
  readonly v: number;
  readonly expires?: string | null;
  readonly ttl?: number | 'none';
  /** Of the commit, so that the same one is not applied again. */
  readonly id?: string;
  /** With an id: sums of increments that the same commit overwrote. */
  readonly sums?: Readonly<Record<string, number>>;
}

/** What a commit came to, for as long as it may be sent again. */
export interface RecentCommit {
  readonly at: number;
  readonly version: number;
  readonly expiresAt: number | undefined;
  readonly logTotal: number;
  readonly set: ReadonlyMap<string, Token>;
}

/** How long a commit id is remembered. */
const RECENT_MS = 60_000;

/** One element of a commit line. */
type Step =
  | { readonly set: Readonly<Record<string, unknown>> }
  | { readonly append: Readonly<Record<string, readonly unknown[]>> }
  | { readonly remove: readonly string[] }
  | { readonly m: unknown }
  | { readonly clear: 'fields' | 'log' }
  | { readonly owner: string | null }
  /** The log begins at this position: older entries have been dropped. */
  | { readonly from: number };

/** A record as its journal says. */
export class RecordFold {
  readonly fields = new Map<string, Token>();
  /** The newest entries of the log. */
  tail: Token[] = [];
  logTotal = 0;
  logDropped = 0;
  version = 0;
  owner: string | undefined;
  createdAt = 0;
  updatedAt = 0;
  expiresAt: number | undefined;
  ownTtl: number | 'none' | undefined;
  header: Header | undefined;
  /** Lines that could not be read, by number. */
  readonly damaged: number[] = [];
  readonly #recent = new Map<string, RecentCommit>();
  #lines = 0;

  isExpired(now: number): boolean {
    return this.expiresAt !== undefined && this.expiresAt <= now;
  }

  /** Folds one line in. Damaged lines are counted, not folded. Returns its log entries. */
  line(text: string): Token[] {
    this.#lines++;
    let parsed: unknown;
    try {
      parsed = decode(text);
      if (Array.isArray(parsed)) return this.#commit(parsed as [Stamp, ...Step[]], text);
      const header = parsed as Header;
      if (this.header || typeof header?.agentup !== 'number' || typeof header.id !== 'string')
        throw new Error('no line of ours');
      this.header = header;
      this.createdAt = this.updatedAt = Date.parse(header.created) || 0;
    } catch {
      this.damaged.push(this.#lines);
    }
    return [];
  }

  #commit([stamp, ...steps]: [Stamp, ...Step[]], text: string): Token[] {
    const at = Date.parse(stamp.at);
    if (!Number.isFinite(at)) throw new Error('a commit without its time');
    const entries: Token[] = [];
    const set = new Map<string, Token>();
    for (const step of steps) {
      if ('m' in step) {
        entries.push(encodeParsed(step.m, text));
        this.logTotal++;
      }
      if ('set' in step) {
        for (const [field, value] of Object.entries(step.set)) {
          const token = encodeParsed(value, text);
          set.set(field, token);
          this.fields.set(field, token);
        }
      } else if ('append' in step) {
        for (const [field, items] of Object.entries(step.append)) {
          let list = this.fields.get(field) ?? '[]';
          for (const item of items) list = appendToken(list, encodeParsed(item, text));
          this.fields.set(field, list);
        }
      } else if ('remove' in step) for (const field of step.remove) this.fields.delete(field);
      else if ('clear' in step) {
        if (step.clear === 'fields') this.fields.clear();
        else this.#clearLog();
      } else if ('owner' in step) this.owner = step.owner ?? undefined;
      else if ('from' in step) {
        this.logDropped = step.from;
        this.logTotal = Math.max(this.logTotal, step.from);
      }
    }
    this.#stamped(at, stamp.v, entries);
    if (stamp.expires !== undefined) this.expiresAt = stamp.expires === null ? undefined : Date.parse(stamp.expires);
    if (stamp.ttl !== undefined) this.ownTtl = stamp.ttl;
    if (stamp.id !== undefined) {
      for (const [field, sum] of Object.entries(stamp.sums ?? {})) set.set(field, String(sum));
      this.#remember(stamp.id, set);
    }
    return entries;
  }

  #clearLog(): void {
    this.tail = [];
    this.logTotal = 0;
    this.logDropped = 0;
  }

  #stamped(at: number, version: number, entries: readonly Token[]): void {
    this.updatedAt = at;
    this.version = version;
    for (const entry of entries) this.tail.push(entry);
    const kept = this.logTotal - this.logDropped;
    if (this.tail.length > 2 * TAIL || this.tail.length > kept) this.tail = this.tail.slice(-Math.min(TAIL, kept));
    if (kept === 0) this.tail = [];
  }

  /** Applies what a line will say, without parsing it. */
  apply(planned: Plan, settings: LineSettings): void {
    if (planned.clearFields) this.fields.clear();
    for (const [field, token] of planned.fields) {
      if (token === undefined) this.fields.delete(field);
      else this.fields.set(field, token);
    }
    if (planned.clearLog) this.#clearLog();
    if (planned.owner) this.owner = planned.owner.value;
    this.logTotal += planned.log.length;
    if (settings.from !== undefined) this.logDropped = settings.from;
    this.#stamped(settings.at, settings.version, planned.log);
    if (settings.expiresAt !== undefined) this.expiresAt = settings.expiresAt ?? undefined;
    if (settings.ownTtl !== undefined) this.ownTtl = settings.ownTtl;
    if (settings.id !== undefined) {
      const set = new Map<string, Token>();
      for (const [field, sum] of planned.incremented) set.set(field, String(sum));
      this.#remember(settings.id, set);
    }
  }

  /** What the commit with this id came to, if it was applied in the last minute. */
  recent(id: string, now: number): RecentCommit | undefined {
    const commit = this.#recent.get(id);
    return commit && commit.at > now - RECENT_MS ? commit : undefined;
  }

  #remember(id: string, set: ReadonlyMap<string, Token>): void {
    const { updatedAt: at, version, expiresAt, logTotal } = this;
    for (const [old, commit] of this.#recent) {
      if (commit.at > at - RECENT_MS) break;
      this.#recent.delete(old);
    }
    this.#recent.set(id, { at, version, expiresAt, logTotal, set });
  }
}

/** What a line says beside the changes. */
export interface LineSettings {
  readonly at: number;
  readonly version: number;
  /** `null`: never; absent: as before. */
  readonly expiresAt?: number | null | undefined;
  readonly ownTtl?: number | 'none' | undefined;
  readonly from?: number | undefined;
  /** Of the commit. */
  readonly id?: string | undefined;
}
