import { appendToken, refuseSealed, type Token } from '../json.js';
import { add, plan, tooManyFields, wrongType } from '../storage/changes.js';
import type { Change, Committed, Expiry, StateRecord } from '../storage/state-storage.js';
import { OUTGOING } from './outgoing.js';

type FieldChange =
  | { readonly op: 'set'; readonly value: Token }
  | { readonly op: 'remove' }
  | { readonly op: 'increment'; readonly by: number }
  | { readonly op: 'append'; readonly items: Token[] };

/** The end of a log, as far as it has been loaded. */
export interface Tail {
  readonly entries: readonly Token[];
  /** Position of the first of `entries`. */
  readonly start: number;
  readonly total: number;
  readonly dropped: number;
}

/**
 * A snapshot and what a turn has changed on it so far. Reads see the changes; `changes()` gives them as the shortest
 * list of deltas, so that a commit overwrites nothing that the turn did not itself overwrite.
 */
export class WorkingCopy {
  #fields: Map<string, Token>;
  #log: Token[];
  #logTotal: number;
  #logDropped: number;
  #owner: string | undefined;
  #exists: boolean;
  #createdAt: number | undefined;
  #updatedAt: number | undefined;
  #expiresAt: number | undefined;

  readonly #pending = new Map<string, FieldChange>();
  #newEntries: Token[] = [];
  #cleared = false;
  #logCleared = false;
  #ownerChanged = false;
  #touched = false;
  expiry: Expiry | undefined;
  /** Of the snapshot, or of what was committed since; 0 where there was nothing. */
  #version: number;
  #ownerBefore: string | undefined;

  /** @throws KEY_MISSING where the record is encrypted: what is written beside would be in clear */
  constructor(record: StateRecord | undefined) {
    if (record) {
      refuseSealed(record.fields.values());
      refuseSealed(record.log);
    }
    this.#version = record?.version ?? 0;
    this.#ownerBefore = record?.owner;
    this.#fields = record?.fields ?? new Map();
    this.#log = record?.log ?? [];
    this.#logTotal = record?.logTotal ?? 0;
    this.#logDropped = record?.logDropped ?? 0;
    this.#owner = record?.owner;
    this.#exists = record !== undefined;
    this.#createdAt = record?.createdAt;
    this.#updatedAt = record?.updatedAt;
    this.#expiresAt = record?.expiresAt;
  }

  get fields(): ReadonlyMap<string, Token> {
    return this.#fields;
  }

  get owner(): string | undefined {
    return this.#owner;
  }

  /** Who takes a conversation that belonged to nobody. */
  get claim(): string | undefined {
    return !this.#ownerChanged || this.#cleared || this.#ownerBefore !== undefined ? undefined : this.#owner;
  }

  get exists(): boolean {
    return this.#exists;
  }

  /** Epoch milliseconds, as stored. */
  get createdAt(): number | undefined {
    return this.#createdAt;
  }

  get updatedAt(): number | undefined {
    return this.#updatedAt;
  }

  get expiresAt(): number | undefined {
    return this.#expiresAt;
  }

  /** The entries held here, oldest first, and the position of the first; older ones are in the storage only. */
  get tail(): Tail {
    return {
      entries: this.#log,
      start: this.#logTotal - this.#log.length,
      total: this.#logTotal,
      dropped: this.#logDropped,
    };
  }

  /** Was everything removed since the last commit, whatever was written after that? */
  get reset(): boolean {
    return this.#cleared;
  }

  /** Was everything removed, with nothing written since? */
  get erased(): boolean {
    return this.#cleared && !this.#exists && !this.#fields.has(OUTGOING);
  }

  get changed(): boolean {
    return (
      this.#pending.size > 0 ||
      this.#newEntries.length > 0 ||
      this.#cleared ||
      this.#logCleared ||
      this.#ownerChanged ||
      this.#touched ||
      this.expiry !== undefined
    );
  }

  /** Applies changes to the view, all or nothing. @throws WRONG_TYPE, INTEGER_OVERFLOW, LIMIT_EXCEEDED */
  apply(changes: readonly Change[], maxFields?: number): Map<string, number> {
    const [first] = changes;
    const single = changes.length === 1 && first?.op !== 'clearFields';
    if (!single) plan(this.#fields, changes, maxFields);
    let incremented: Map<string, number> | undefined;
    for (const change of changes) {
      switch (change.op) {
        case 'set':
          this.#put(change.field, change.value, single ? maxFields : undefined);
          this.#pending.set(change.field, { op: 'set', value: change.value });
          break;
        case 'increment': {
          const sum = add(this.#fields.get(change.field), change.by, change.field);
          this.#put(change.field, String(sum), single ? maxFields : undefined);
          this.#pending.set(change.field, this.#merge(change));
          incremented ??= new Map();
          incremented.set(change.field, sum);
          break;
        }
        case 'append': {
          const list = this.#fields.get(change.field) ?? '[]';
          if (!list.startsWith('[')) throw wrongType(change.field, 'a list');
          this.#put(change.field, appendToken(list, change.item), single ? maxFields : undefined);
          this.#pending.set(change.field, this.#merge(change));
          break;
        }
        case 'remove':
          this.#fields.delete(change.field);
          this.#pending.set(change.field, { op: 'remove' });
          break;
        case 'log':
          this.#log.push(change.entry);
          this.#newEntries.push(change.entry);
          this.#logTotal++;
          break;
        case 'clearLog':
          this.#log = [];
          this.#newEntries = [];
          this.#logTotal = 0;
          this.#logDropped = 0;
          this.#logCleared = true;
          break;
        case 'clearFields':
          this.#fields.clear();
          this.#pending.clear();
          this.#cleared = true;
          // Only an erasure clears the fields, and it takes the times with it.
          this.#createdAt = this.#updatedAt = this.#expiresAt = this.expiry = undefined;
          break;
        case 'owner':
          this.#owner = change.owner;
          this.#ownerChanged = true;
          break;
        case 'touch':
          this.#touched = true;
      }
    }
    if (changes.length > 0) this.#exists = true;
    return incremented ?? NOTHING;
  }

  /** Removes everything, as if the conversation had never been, but what has still to be sent. */
  erase(): void {
    const outgoing = this.#fields.get(OUTGOING);
    this.apply([{ op: 'clearFields' }, { op: 'clearLog' }, { op: 'owner', owner: undefined }]);
    if (outgoing !== undefined) this.apply([{ op: 'set', field: OUTGOING, value: outgoing }]);
    this.#exists = false;
  }

  changes(): Change[] {
    const changes: Change[] = [];
    if (this.#cleared) changes.push({ op: 'clearFields' });
    if (this.#logCleared) changes.push({ op: 'clearLog' });
    if (this.#ownerChanged) changes.push({ op: 'owner', owner: this.#owner });
    for (const [field, change] of this.#pending) {
      switch (change.op) {
        case 'append':
          for (const item of change.items) changes.push({ op: 'append', field, item });
          break;
        case 'set':
          changes.push({ op: 'set', field, value: change.value });
          break;
        case 'increment':
          changes.push({ op: 'increment', field, by: change.by });
          break;
        case 'remove':
          changes.push({ op: 'remove', field });
      }
    }
    for (const entry of this.#newEntries) changes.push({ op: 'log', entry });
    if (changes.length === 0 && this.#touched) changes.push({ op: 'touch' });
    return changes;
  }

  /** @returns what makes this copy, and what is pending on it, what they are now */
  remember(): () => void {
    const before = new WorkingCopy(undefined);
    before.#become(this);
    return () => this.#become(before);
  }

  #become(from: WorkingCopy): void {
    this.#fields = new Map(from.#fields);
    this.#log = [...from.#log];
    this.#logTotal = from.#logTotal;
    this.#logDropped = from.#logDropped;
    this.#owner = from.#owner;
    this.#exists = from.#exists;
    this.#createdAt = from.#createdAt;
    this.#updatedAt = from.#updatedAt;
    this.#expiresAt = from.#expiresAt;
    this.#pending.clear();
    for (const [field, change] of from.#pending) {
      this.#pending.set(field, change.op === 'append' ? { ...change, items: [...change.items] } : change);
    }
    this.#newEntries = [...from.#newEntries];
    this.#cleared = from.#cleared;
    this.#logCleared = from.#logCleared;
    this.#ownerChanged = from.#ownerChanged;
    this.#touched = from.#touched;
    this.expiry = from.expiry;
    this.#version = from.#version;
    this.#ownerBefore = from.#ownerBefore;
  }

  /** The view as a record, for a handler that joins this turn. */
  snapshot(): StateRecord | undefined {
    if (!this.#exists) return undefined;
    return {
      fields: new Map(this.#fields),
      log: [...this.#log],
      logTotal: this.#logTotal,
      logDropped: this.#logDropped,
      version: 0,
      owner: this.#owner,
      createdAt: this.#createdAt ?? 0,
      updatedAt: this.#updatedAt ?? 0,
      expiresAt: this.#expiresAt,
    };
  }

  /** What was pending is stored now. Increments take the value that the storage came to, with others' added. */
  settle(answer?: Committed): void {
    this.#pending.clear();
    this.#newEntries = [];
    this.#cleared = false;
    this.#logCleared = false;
    this.#ownerChanged = false;
    this.#touched = false;
    this.expiry = undefined;
    if (!answer) return;
    this.#version = answer.version;
    this.#ownerBefore = this.#owner;
    for (const [field, value] of answer.incremented) this.#fields.set(field, String(value));
    this.#updatedAt = answer.updatedAt;
    this.#expiresAt = answer.expiresAt;
  }

  /** Its time to live has begun anew, without a change. */
  outlived({ version, expiresAt }: Committed): void {
    // A save may have been answered before.
    if (version <= this.#version) return;
    this.#version = version;
    this.#expiresAt = expiresAt;
  }

  /** @throws LIMIT_EXCEEDED where that makes one field more than there may be */
  #put(field: string, token: Token, maxFields: number | undefined): void {
    const { size } = this.#fields;
    if (maxFields !== undefined && size >= maxFields && !this.#fields.has(field)) {
      throw tooManyFields(maxFields, size + 1);
    }
    this.#fields.set(field, token);
  }

  /** One delta for what was pending on a field and what comes now, which the view has taken already. */
  #merge(change: Extract<Change, { op: 'increment' | 'append' }>): FieldChange {
    const before = this.#pending.get(change.field);
    if (!before) {
      return change.op === 'increment' ? { op: 'increment', by: change.by } : { op: 'append', items: [change.item] };
    }
    if (change.op === 'increment' && before.op === 'increment' && Number.isSafeInteger(before.by + change.by)) {
      return { op: 'increment', by: before.by + change.by };
    }
    if (change.op === 'append' && before.op === 'append') {
      before.items.push(change.item);
      return before;
    }
    return { op: 'set', value: this.#fields.get(change.field) as Token };
  }
}

const NOTHING: Map<string, number> = new Map();
