import type { Token } from '../../json.js';
import type { Change } from '../state-storage.js';

interface Seen {
  readonly text: string;
  /** Monotonic, in milliseconds: when its lease ends if it is not renewed. */
  ends: number;
  readonly fields: Map<string, Token>;
}

/**
 * What the fields of a record held, as stored, when a lease on it was taken: a commit under that lease compares with it
 * and so needs not read first. A guess at most: where it is wrong the commit is refused, and made anew.
 */
export class SeenTokens {
  readonly #seen = new Map<string, Seen>();

  /** Notes a snapshot. Those whose leases have ended without a commit are dropped. */
  note(lease: { readonly token: string; readonly leaseMs: number }, text: string, fields: Map<string, Token>): void {
    const now = performance.now();
    for (const [token, { ends }] of this.#seen) {
      if (ends > now) break;
      this.#seen.delete(token);
    }
    // The oldest are first, so a lease that is taken or renewed goes to the end.
    this.#seen.delete(lease.token);
    this.#seen.set(lease.token, { text, ends: now + lease.leaseMs, fields });
  }

  find(token: string | undefined, text: string): Map<string, Token> | undefined {
    const seen = token === undefined ? undefined : this.#seen.get(token);
    return seen?.text === text ? seen.fields : undefined;
  }

  /** A commit went through: its lease has ended, or is kept and its fields are as these changes left them. */
  settle(lease: { readonly token: string; readonly keepMs?: number }, changes: readonly Change[]): void {
    const { token, keepMs } = lease;
    const seen = this.#seen.get(token);
    if (!seen) return;
    if (keepMs === undefined) {
      this.#seen.delete(token);
      return;
    }
    for (const change of changes) {
      if (change.op === 'set') seen.fields.set(change.field, change.value);
      else if (change.op === 'remove') seen.fields.delete(change.field);
      else if (change.op === 'clearFields') seen.fields.clear();
    }
    this.note({ token, leaseMs: keepMs }, seen.text, seen.fields);
  }
}
