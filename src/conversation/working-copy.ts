import { appendToken, refuseSealed, type Token } from '../json.js';
import { add, plan, tooManyFields, wrongType } from '../storage/changes.js';
import type { Change, Committed, Expiry, StateRecord } from '../storage/state-storage.js';
import { OUTGOING } from './outgoing.js';

/** What a field is to become: one change, or all that was appended to it. */
type FieldChange =
  | Extract<Change, { op: 'set' | 'remove' | 'increment' }>
  | { readonly op: 'append'; readonly items: Token[] };

/** The end of a log, as far as it has been loaded. */
export interface Tail {
  readonly entries: readonly Token[];
  /** Position of the first of `entries`. */
  readonly start: number;
  readonly total: number;
  readonly dropped: number;
}

/** A snapshot, and from `pending` on what a turn has changed on it since its last commit. */
interface State {
  readonly fields: Map<string, Token>;
  log: Token[];
  logTotal: number;
  logDropped: number;
  owner: string | undefined;
  exists: boolean;
  createdAt: number | undefined;
  updatedAt: number | undefined;
  expiresAt: number | undefined;
  /** Of the snapshot, or of what was committed since; 0 where there was nothing. */
  version: number;
  ownerBefore: string | undefined;

  readonly pending: Map<string, FieldChange>;
  newEntries: Token[];
  cleared: boolean;
  logCleared: boolean;
  ownerChanged: boolean;
  touched: boolean;
  expiry: Expiry | undefined;
}

type Plain = string | number | boolean | undefined | Expiry;
/** What a copy of a state may not share with it. One that is added is missed by the compiler where states are copied. */
type Collections = { [Name in keyof State as State[Name] extends Plain ? never : Name]: State[Name] };

/**
 * A snapshot and what a turn has changed on it so far. Reads see the changes; `changes()` gives them as the shortest
 * list of deltas, so that a commit overwrites nothing that the turn did not itself overwrite.
 */
export class WorkingCopy {
  #state: State;

  /** @throws KEY_MISSING where the record is encrypted: what is written beside would be in clear */
  constructor(record: StateRecord | undefined) {
    if (record) {
      record.fields.forEach(refuseSealed);
      record.log.forEach(refuseSealed);
    }
    this.#state = {
      fields: record?.fields ?? new Map(),
      log: record?.log ?? [],
      logTotal: record?.logTotal ?? 0,
      logDropped: record?.logDropped ?? 0,
      owner: record?.owner,
      exists: record !== undefined,
      createdAt: record?.createdAt,
      updatedAt: record?.updatedAt,
      expiresAt: record?.expiresAt,
      version: record?.version ?? 0,
      ownerBefore: record?.owner,
      pending: new Map(),
      newEntries: [],
      cleared: false,
      logCleared: false,
      ownerChanged: false,
      touched: false,
      expiry: undefined,
    };
  }

  /** The time to live that is to be written. */
  get expiry(): Expiry | undefined {
    return this.#state.expiry;
  }

  set expiry(expiry: Expiry | undefined) {
    this.#state.expiry = expiry;
  }

  get fields(): ReadonlyMap<string, Token> {
    return this.#state.fields;
  }

  get owner(): string | undefined {
    return this.#state.owner;
  }

  /** Who takes a conversation that belonged to nobody. */
  get claim(): string | undefined {
    return !this.#state.ownerChanged || this.#state.cleared || this.#state.ownerBefore !== undefined
      ? undefined
      : this.#state.owner;
  }

  get exists(): boolean {
    return this.#state.exists;
  }

  /** Epoch milliseconds, as stored. */
  get createdAt(): number | undefined {
    return this.#state.createdAt;
  }

  get updatedAt(): number | undefined {
    return this.#state.updatedAt;
  }

  get expiresAt(): number | undefined {
    return this.#state.expiresAt;
  }

  /** The entries held here, oldest first, and the position of the first; older ones are in the storage only. */
  get tail(): Tail {
    return {
      entries: this.#state.log,
      start: this.#state.logTotal - this.#state.log.length,
      total: this.#state.logTotal,
      dropped: this.#state.logDropped,
    };
  }

  /** Was everything removed since the last commit, whatever was written after that? */
  get reset(): boolean {
    return this.#state.cleared;
  }

  /** Was everything removed, with nothing written since? */
  get erased(): boolean {
    return this.#state.cleared && !this.#state.exists && !this.#state.fields.has(OUTGOING);
  }

  get changed(): boolean {
    const state = this.#state;
    return (
      state.pending.size > 0 ||
      state.newEntries.length > 0 ||
      state.cleared ||
      state.logCleared ||
      state.ownerChanged ||
      state.touched ||
      state.expiry !== undefined
    );
  }

  /** Applies changes to the view, all or nothing. @throws WRONG_TYPE, INTEGER_OVERFLOW, LIMIT_EXCEEDED */
  apply(changes: readonly Change[], maxFields?: number): Map<string, number> {
    const state = this.#state;
    const [first] = changes;
    const single = changes.length === 1 && first?.op !== 'clearFields';
    if (!single) plan(state.fields, changes, maxFields);
    let incremented: Map<string, number> | undefined;
    for (const change of changes) {
      switch (change.op) {
        case 'set':
          this.#put(change.field, change.value, single ? maxFields : undefined);
          state.pending.set(change.field, change);
          break;
        case 'increment': {
          const sum = add(state.fields.get(change.field), change.by, change.field);
          this.#put(change.field, String(sum), single ? maxFields : undefined);
          state.pending.set(change.field, this.#merge(change));
          incremented ??= new Map();
          incremented.set(change.field, sum);
          break;
        }
        case 'append': {
          const list = state.fields.get(change.field) ?? '[]';
          if (!list.startsWith('[')) throw wrongType(change.field, 'a list');
          this.#put(change.field, appendToken(list, change.item), single ? maxFields : undefined);
          state.pending.set(change.field, this.#merge(change));
          break;
        }
        case 'remove':
          state.fields.delete(change.field);
          state.pending.set(change.field, change);
          break;
        case 'log':
          state.log.push(change.entry);
          state.newEntries.push(change.entry);
          state.logTotal++;
          break;
        case 'clearLog':
          state.log = [];
          state.newEntries = [];
          state.logTotal = 0;
          state.logDropped = 0;
          state.logCleared = true;
          break;
        case 'clearFields':
          state.fields.clear();
          state.pending.clear();
          state.cleared = true;
          // Only an erasure clears the fields, and it takes the times with it.
          state.createdAt = state.updatedAt = state.expiresAt = state.expiry = undefined;
          break;
        case 'owner':
          state.owner = change.owner;
          state.ownerChanged = true;
          break;
        case 'touch':
          state.touched = true;
      }
    }
    if (changes.length > 0) state.exists = true;
    return incremented ?? NOTHING;
  }

  /** Removes everything, as if the conversation had never been, but what has still to be sent. */
  erase(): void {
    const outgoing = this.#state.fields.get(OUTGOING);
    this.apply([{ op: 'clearFields' }, { op: 'clearLog' }, { op: 'owner', owner: undefined }]);
    if (outgoing !== undefined) this.apply([{ op: 'set', field: OUTGOING, value: outgoing }]);
    this.#state.exists = false;
  }

  changes(): Change[] {
    const state = this.#state;
    const changes: Change[] = [];
    if (state.cleared) changes.push({ op: 'clearFields' });
    if (state.logCleared) changes.push({ op: 'clearLog' });
    if (state.ownerChanged) changes.push({ op: 'owner', owner: state.owner });
    for (const [field, change] of state.pending) {
      if (change.op !== 'append') changes.push(change);
      else for (const item of change.items) changes.push({ op: 'append', field, item });
    }
    for (const entry of state.newEntries) changes.push({ op: 'log', entry });
    if (changes.length === 0 && state.touched) changes.push({ op: 'touch' });
    return changes;
  }

  /** @returns what makes this copy, and what is pending on it, what they are now */
  remember(): () => void {
    const before = copyOf(this.#state);
    return () => {
      this.#state = copyOf(before);
    };
  }

  /** The view as a record, for a handler that joins this turn. */
  snapshot(): StateRecord | undefined {
    const state = this.#state;
    if (!state.exists) return undefined;
    return {
      fields: new Map(state.fields),
      log: [...state.log],
      logTotal: state.logTotal,
      logDropped: state.logDropped,
      version: 0,
      owner: state.owner,
      createdAt: state.createdAt ?? 0,
      updatedAt: state.updatedAt ?? 0,
      expiresAt: state.expiresAt,
    };
  }

  /** What was pending is stored now. Increments take the value that the storage came to, with others' added. */
  settle(answer?: Committed): void {
    const state = this.#state;
    state.pending.clear();
    state.newEntries = [];
    state.cleared = false;
    state.logCleared = false;
    state.ownerChanged = false;
    state.touched = false;
    state.expiry = undefined;
    if (!answer) return;
    state.version = answer.version;
    state.ownerBefore = state.owner;
    for (const [field, value] of answer.incremented) state.fields.set(field, String(value));
    state.updatedAt = answer.updatedAt;
    state.expiresAt = answer.expiresAt;
  }

  /** Its time to live has begun anew, without a change. */
  outlived({ version, expiresAt }: Committed): void {
    // A save may have been answered before.
    if (version <= this.#state.version) return;
    this.#state.version = version;
    this.#state.expiresAt = expiresAt;
  }

  /** @throws LIMIT_EXCEEDED where that makes one field more than there may be */
  #put(field: string, token: Token, maxFields: number | undefined): void {
    const { size } = this.#state.fields;
    if (maxFields !== undefined && size >= maxFields && !this.#state.fields.has(field)) {
      throw tooManyFields(maxFields, size + 1);
    }
    this.#state.fields.set(field, token);
  }

  /** One delta for what was pending on a field and what comes now, which the view has taken already. */
  #merge(change: Extract<Change, { op: 'increment' | 'append' }>): FieldChange {
    const { field } = change;
    const before = this.#state.pending.get(field);
    if (!before) return change.op === 'increment' ? change : { op: 'append', items: [change.item] };
    if (change.op === 'increment' && before.op === 'increment' && Number.isSafeInteger(before.by + change.by)) {
      return { op: 'increment', field, by: before.by + change.by };
    }
    if (change.op === 'append' && before.op === 'append') {
      before.items.push(change.item);
      return before;
    }
    return { op: 'set', field, value: this.#state.fields.get(field) as Token };
  }
}

function copyOf(state: State): State {
  const pending = new Map<string, FieldChange>();
  for (const [field, change] of state.pending) {
    pending.set(field, change.op === 'append' ? { ...change, items: [...change.items] } : change);
  }
  const collections: Collections = {
    fields: new Map(state.fields),
    log: [...state.log],
    pending,
    newEntries: [...state.newEntries],
  };
  return { ...state, ...collections };
}

const NOTHING: Map<string, number> = new Map();
