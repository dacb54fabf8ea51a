import { SEALED, type Token } from '../../json.js';
import { type Plan, plan } from '../changes.js';
import { keyText, type RecordKey } from '../keys.js';
import type { Change, CommitCondition, CommitOptions, Committed } from '../state-storage.js';
import type { TokenCipher } from './token-cipher.js';

/** Must the commit look at what fields hold? */
export function comparesFields(changes: readonly Change[], { condition }: CommitOptions): boolean {
  if (condition?.fields && condition.fields.size > 0) return true;
  return changes.some(({ op }) => op === 'increment' || op === 'append');
}

/** A field that is never there, and a token that is never stored. */
const NEVER: ReadonlyMap<string, Token> = new Map([[`${SEALED}never`, SEALED]]);
/** Carries the number of a key through a commit; gone again in the end. */
const KEY_FIELD = `${SEALED}key`;

/** A commit as it is sent to a storage that can compare tokens, but not read them. */
export interface Attempt {
  readonly changes: readonly Change[];
  readonly condition: CommitCondition & { readonly fields: ReadonlyMap<string, Token | undefined> };
  /** What is wrong with the changes, where the fields are as assumed. Then nothing of it can go through. */
  readonly error?: unknown;
  /** The tokens that it rests on. */
  readonly seen: ReadonlyMap<string, Token | undefined>;
  /** The sums, also those of a commit that had been applied before. */
  incremented(answer: Committed): Map<string, number>;
}

/**
 * Works out increments, appends and comparisons here, and has the storage behind only compare: the commit goes through
 * where the fields it looked at still hold the very tokens that were looked at. Each token has its own nonce, so the
 * same token is the same value.
 *
 * What is wrong with a commit is no reason not to send it: the storage may know its id or its idempotency key, or that
 * its lease is lost, and that goes first. It is sent so that it cannot apply.
 */
export class FoldedCommit {
  /** The fields it looks at. */
  readonly fields: readonly string[];
  readonly #cipher: TokenCipher;
  readonly #key: RecordKey;
  readonly #text: string;
  readonly #changes: readonly Change[];
  readonly #options: CommitOptions;

  constructor(cipher: TokenCipher, key: RecordKey, changes: readonly Change[], options: CommitOptions) {
    this.#cipher = cipher;
    this.#key = key;
    this.#text = keyText(key);
    this.#changes = changes;
    this.#options = options;
    const fields = new Set(options.condition?.fields?.keys());
    for (const change of changes) {
      if (change.op === 'increment' || change.op === 'append') fields.add(change.field);
    }
    this.fields = [...fields];
  }

  /** The commit, if the fields hold these tokens. */
  against(stored: ReadonlyMap<string, Token>): Attempt {
    const seen = new Map<string, Token | undefined>();
    const current = new Map<string, Token>();
    for (const field of this.fields) {
      const token = stored.get(field);
      seen.set(field, token);
      if (token !== undefined) current.set(field, this.#cipher.open(this.#key, this.#text, { field }, token));
    }
    const { condition } = this.#options;
    for (const [field, token] of condition?.fields ?? []) {
      if (current.get(field) !== token) return this.#refused(seen);
    }
    try {
      // How many fields there are only the storage knows.
      const planned = plan(current, this.#changes);
      const sums = this.#options.commitId === undefined ? [] : this.#sums(planned);
      // A field that is cleared after it was added to keeps nothing of its sum.
      const changes = [...sums, ...(planned.clearFields ? [CLEAR] : []), ...this.#stored(planned)];
      const incremented = ({ incremented: answered }: Committed) =>
        sums.length === 0 ? planned.incremented : this.#revealed(answered);
      return { changes, condition: { ...condition, fields: seen }, seen, incremented };
    } catch (error) {
      return { ...this.#refused(seen), error };
    }
  }

  /** Do the fields hold what an attempt rested on? */
  isSame({ seen }: Attempt, stored: ReadonlyMap<string, Token>): boolean {
    return this.fields.every((field) => seen.get(field) === stored.get(field));
  }

  /** Nothing of it can apply. One that did before is answered with what it came to then. */
  #refused(seen: Attempt['seen']): Attempt {
    const sums = this.#options.commitId === undefined ? [] : this.#sums(undefined);
    // Without what the options rest on they would be refused as wrong.
    const needed = this.#changes.filter(({ op }) => op === 'touch' || op === 'clearLog');
    const changes = [...sums, ...needed];
    const incremented = ({ incremented: answered }: Committed) => this.#revealed(answered);
    return { changes, condition: { ...this.#options.condition, fields: NEVER }, seen, incremented };
  }

  #stored(planned: Plan): Change[] {
    const { fields, clearLog, log, owner } = planned;
    const changes: Change[] = [];
    for (const [field, token] of fields) {
      if (token === undefined) changes.push({ op: 'remove', field });
      else changes.push({ op: 'set', field, value: this.#cipher.seal(this.#text, { field }, token) });
    }
    if (clearLog) changes.push({ op: 'clearLog' });
    for (const entry of log) changes.push({ op: 'log', entry: this.#cipher.seal(this.#text, 'log', entry) });
    if (owner) changes.push({ op: 'owner', owner: owner.value });
    // What adds to a field, then clears all of them, writes nothing else and is a write nevertheless.
    if (changes.length === 0 && this.#changes.length > 0) changes.push({ op: 'touch' });
    return changes;
  }

  /**
   * A commit that is sent again is answered with the sums of the first time, which the storage keeps for it: it has to
   * learn them, but must not know them. Each goes hidden through its own field, before that gets its value.
   */
  #sums(planned: Plan | undefined): Change[] {
    const incremented = new Set(this.#changes.flatMap((change) => (change.op === 'increment' ? [change.field] : [])));
    if (incremented.size === 0) return [];
    const changes: Change[] = [
      { op: 'set', field: KEY_FIELD, value: String(this.#cipher.number) },
      { op: 'increment', field: KEY_FIELD, by: 0 },
      { op: 'remove', field: KEY_FIELD },
    ];
    for (const field of incremented) {
      const sum = planned?.incremented.get(field);
      const hidden = sum === undefined ? 0 : this.#cipher.hide(this.#text, this.#salt(field), sum);
      changes.push({ op: 'set', field, value: String(hidden) }, { op: 'increment', field, by: 0 });
    }
    return changes;
  }

  #revealed(answered: ReadonlyMap<string, number>): Map<string, number> {
    const number = answered.get(KEY_FIELD) ?? 0;
    const sums = new Map<string, number>();
    for (const [field, hidden] of answered) {
      if (field !== KEY_FIELD) sums.set(field, this.#cipher.reveal(this.#text, this.#salt(field), hidden, number));
    }
    return sums;
  }

  #salt(field: string): string {
    return `${this.#options.commitId}\0${field}`;
  }
}

const CLEAR: Change = { op: 'clearFields' };
