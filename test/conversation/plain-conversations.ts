import { encodeName } from '../../src/storage/keys.js';

/** A call on one conversation. */
export type Op =
  | { op: 'get' | 'delete'; name: string }
  | { op: 'set'; name: string; value: unknown }
  | { op: 'increment'; name: string; by: number }
  | { op: 'append'; name: string; item: unknown }
  | { op: 'update'; name: string; value: unknown }
  | { op: 'variables' | 'clearHistory' | 'clear' | 'getTtl' | 'save' }
  | { op: 'getMeta' | 'deleteMeta'; name: string }
  | { op: 'setMeta'; name: string; value: unknown }
  | { op: 'say'; content: string }
  | { op: 'history'; limit?: number; before?: number; maxTokens?: number }
  | { op: 'setTtl'; ttl: number | 'none' }
  | { op: 'getOrCreate'; userId?: string | undefined };

export interface PlainSettings {
  /** Seconds. */
  ttl: number | 'none';
  /** Messages in `getOrCreate`. */
  load: number;
  max: number | undefined;
  /** Messages whose replies are kept. */
  dedupe: number;
}

interface Plain {
  fields: Map<string, unknown>;
  /** Every message since the history began. */
  history: string[];
  dropped: number;
  owner: string | undefined;
  updatedAt: number;
  expiresAt: number | undefined;
  ownTtl: number | 'none' | undefined;
  replies: [messageId: string, reply: unknown][];
}

/** A change that a turn has still to write. */
type Pending =
  | { kind: 'field'; name: string; steps: ((before: unknown) => unknown)[]; adds: boolean }
  | { kind: 'message'; content: string };

/** Half a lease. */
const SOON_MS = 15_000;
/** `undefined` for a variable that is not there. */
const ABSENT = undefined;

export class PlainError extends Error {
  constructor(readonly code: string) {
    super(code);
  }
}

/** Conversations, written a second time in the plainest way: no tokens, no leases, a copy for everything. */
export class PlainConversations {
  readonly #all = new Map<string, Plain>();
  readonly settings: PlainSettings;
  readonly now: () => number;

  constructor(settings: PlainSettings, now: () => number) {
    this.settings = settings;
    this.now = now;
  }

  find(id: string): Plain | undefined {
    const found = this.#all.get(id);
    return found && (found.expiresAt ?? Number.POSITIVE_INFINITY) > this.now() ? found : undefined;
  }

  store(id: string, plain: Plain | undefined): void {
    if (plain) this.#all.set(id, plain);
    else this.#all.delete(id);
  }

  /** Of a call outside of any turn, which is a turn of its own that nobody can come between. */
  call(id: string, op: Op, user?: string): unknown {
    const turn = new PlainTurn(this, id, undefined);
    const answer = turn.call(op.op === 'getOrCreate' ? { userId: user, ...op } : op);
    turn.commit();
    return answer;
  }

  /** Before the handler of a turn runs: what would end soon is given its time anew. */
  outlive(id: string, user: string | undefined): void {
    const found = this.find(id);
    if (found?.expiresAt === undefined || found.expiresAt - this.now() >= SOON_MS) return;
    if (user !== undefined && found.owner !== undefined && found.owner !== user) return;
    const ttl = found.ownTtl ?? this.settings.ttl;
    found.expiresAt = ttl === 'none' ? undefined : this.now() + ttl * 1000;
    found.updatedAt = this.now();
  }

  list(query: { userId?: string; after?: string; limit?: number; updatedBefore?: number }): unknown[] {
    return [...this.#all.keys()]
      .sort((a, b) => (encodeName(a) < encodeName(b) ? -1 : 1))
      .flatMap((contextId) => {
        const found = this.find(contextId);
        return found ? [{ contextId, userId: found.owner, updatedAt: found.updatedAt }] : [];
      })
      .filter(({ contextId }) => query.after === undefined || encodeName(contextId) > encodeName(query.after))
      .filter(({ userId }) => query.userId === undefined || userId === query.userId)
      .filter(({ updatedAt }) => updatedAt < (query.updatedBefore ?? Number.POSITIVE_INFINITY))
      .slice(0, query.limit)
      .map(({ contextId, userId }) => ({ contextId, userId }));
  }

  cleanup(before: number): number {
    const old = [...this.#all.keys()].filter((id) => (this.find(id)?.updatedAt ?? before) < before);
    for (const id of old) this.#all.delete(id);
    return old.length;
  }
}

/** A turn: what it sees, and what it has still to write. */
export class PlainTurn {
  readonly #all: PlainConversations;
  readonly #id: string;
  readonly #user: string | undefined;
  #sees: Plain | undefined;
  /** What it sees is not in the storage. */
  #isNew: boolean;
  #pending: Pending[] = [];
  #erased = false;
  #clearedHistory = false;
  #claims = false;
  /** Anything at all. */
  #wrote = false;
  #ttl: number | 'none' | undefined;

  readonly #outer: PlainTurn | undefined;

  constructor(all: PlainConversations, id: string, user: string | undefined, outer?: PlainTurn) {
    this.#all = all;
    this.#id = id;
    this.#user = user;
    this.#outer = outer;
    this.#sees = copyOf(all.find(id));
    this.#isNew = this.#sees === undefined;
    if (outer) this.#take(outer);
  }

  get owner(): string | undefined {
    return this.#sees?.owner;
  }

  reply(messageId: string | undefined): [string, unknown] | undefined {
    return this.#sees?.replies.find(([known]) => known === messageId);
  }

  /** Runs something inside of this turn: all of it counts, or nothing but what it has saved. */
  nested(user: string | undefined, body: (inner: PlainTurn) => void): void {
    if (user !== undefined && this.owner !== undefined && this.owner !== user)
      throw new PlainError('CONTEXT_FORBIDDEN');
    const inner = new PlainTurn(this.#all, this.#id, user, this);
    body(inner);
    if (inner.#wrote) inner.#own(user);
    const wrote = this.#wrote || inner.#wrote;
    this.#take(inner);
    this.#wrote = wrote;
  }

  call(op: Op): unknown {
    const sees = this.#sees;
    const { settings } = this.#all;
    switch (op.op) {
      case 'get':
        return sees?.fields.get(`var:${op.name}`);
      case 'getMeta':
        return sees?.fields.get(`meta:${op.name}`);
      case 'set':
        return this.#field(`var:${op.name}`, () => op.value);
      case 'setMeta':
        return this.#field(`meta:${op.name}`, () => op.value);
      case 'update':
        this.#field(`var:${op.name}`, () => op.value);
        return op.value;
      case 'delete':
        return this.#remove(`var:${op.name}`);
      case 'deleteMeta':
        return this.#remove(`meta:${op.name}`);
      case 'increment':
        this.#field(`var:${op.name}`, (before) => sum(before, op.by), 'adds');
        return this.#sees?.fields.get(`var:${op.name}`);
      case 'append':
        return this.#field(`var:${op.name}`, (before) => longer(before, op.item), 'adds');
      case 'variables':
        return [...(sees?.fields ?? [])].filter(([name]) => name.startsWith('var:')).sort(byName);
      case 'say':
        this.#there().history.push(op.content);
        this.#pending.push({ kind: 'message', content: op.content });
        this.#wrote = true;
        return undefined;
      case 'history': {
        const { history = [], dropped = 0 } = sees ?? {};
        const positions = [...history.keys()].filter((at) => at >= dropped && at < (op.before ?? history.length));
        const page = op.limit === 0 ? [] : positions.slice(-(op.limit ?? positions.length));
        let left = op.maxTokens ?? Number.POSITIVE_INFINITY;
        const tooLong = page.findLastIndex((at) => (left -= (history[at] as string).length) < 0);
        return page.slice(tooLong + 1).map((at) => history[at]);
      }
      case 'clearHistory':
        if (!sees) return undefined;
        Object.assign(sees, { history: [], dropped: 0 });
        this.#pending = this.#pending.filter(({ kind }) => kind !== 'message');
        this.#clearedHistory = this.#wrote = true;
        return undefined;
      case 'clear':
        this.#sees = undefined;
        this.#pending = [];
        this.#erased = this.#isNew = this.#wrote = true;
        this.#claims = this.#clearedHistory = false;
        this.#ttl = undefined;
        return sees !== undefined;
      case 'getTtl': {
        if (!sees) return undefined;
        const ttl = this.#ttl ?? (this.#isNew ? settings.ttl : undefined);
        if (ttl !== undefined) return ttl === 'none' ? null : ttl;
        return sees.expiresAt === undefined ? null : Math.ceil((sees.expiresAt - this.#all.now()) / 1000);
      }
      case 'setTtl':
        if (!sees) return false;
        this.#ttl = op.ttl;
        this.#wrote = true;
        return true;
      case 'getOrCreate': {
        const user = op.userId ?? this.#user;
        if (sees?.owner !== undefined && user !== undefined && sees.owner !== user) {
          throw new PlainError('CONTEXT_FORBIDDEN');
        }
        if (!sees) this.#wrote = true;
        const there = this.#there();
        this.#own(user);
        return {
          userId: there.owner,
          variables: this.call({ op: 'variables' }),
          history: this.call({ op: 'history', limit: settings.load }),
          total: there.history.length,
        };
      }
      case 'save':
        this.commit();
        return undefined;
    }
  }

  /** Writes what is pending onto what is stored by now, whole or not at all. */
  commit(reply?: [messageId: string, reply: unknown]): void {
    const before = this.#outer && new PlainTurn(this.#all, this.#id, this.#user, this);
    const wrote = this.#wrote;
    try {
      this.#commit(reply);
    } catch (error) {
      if (before) {
        this.#take(before);
        this.#wrote = wrote;
      }
      throw error;
    }
  }

  #commit(reply?: [messageId: string, reply: unknown]): void {
    const { settings } = this.#all;
    const now = this.#all.now();
    const goes = this.#erased && this.#sees === undefined;
    if (goes) this.#all.store(this.#id, undefined);
    if (goes || !(this.hasWritten || reply)) {
      this.#settle(undefined);
      return;
    }
    let wrote = reply !== undefined;
    for (let turn: PlainTurn | undefined = this; turn; turn = turn.#outer) {
      wrote ||= turn.#wrote;
      if (wrote) this.#own(turn.#user);
    }
    const before = this.#all.find(this.#id);
    const stored = (this.#erased ? undefined : copyOf(before)) ?? nothing(now);
    // What is known of messages stays with what they have cleared.
    if (this.#erased) stored.replies = [...(before?.replies ?? [])];
    if (this.#claims) {
      const owner = this.#sees?.owner;
      if (stored.owner !== undefined && stored.owner !== owner) throw new PlainError('CONTEXT_FORBIDDEN');
      stored.owner = owner;
    }
    if (this.#clearedHistory) Object.assign(stored, { history: [], dropped: 0 });
    for (const change of this.#pending) {
      if (change.kind === 'message') stored.history.push(change.content);
      else {
        const value = change.steps.reduce((so, step) => step(so), stored.fields.get(change.name));
        if (value === ABSENT) stored.fields.delete(change.name);
        else stored.fields.set(change.name, value);
      }
    }
    stored.dropped = Math.max(stored.dropped, stored.history.length - (settings.max ?? stored.history.length));
    if (this.#ttl !== undefined) stored.ownTtl = this.#ttl;
    const ttl = stored.ownTtl ?? settings.ttl;
    stored.expiresAt = ttl === 'none' ? undefined : now + ttl * 1000;
    stored.updatedAt = now;
    if (reply) stored.replies = [...stored.replies, reply].slice(-settings.dedupe);
    this.#all.store(this.#id, stored);
    this.#settle(stored);
  }

  /** After a commit the turn sees on what it saw, but for the sums and the times that it was told. */
  #settle(stored: Plain | undefined): void {
    const sees = this.#sees;
    if (stored && sees) {
      for (const change of this.#pending) {
        if (change.kind === 'field' && change.adds && typeof sees.fields.get(change.name) === 'number') {
          sees.fields.set(change.name, stored.fields.get(change.name));
        }
      }
      Object.assign(sees, { expiresAt: stored.expiresAt });
      this.#isNew = false;
    }
    this.#pending = [];
    this.#erased = this.#clearedHistory = this.#claims = this.#wrote = false;
    this.#ttl = undefined;
    // What has been saved in it stays when it throws.
    const outer = this.#outer;
    if (!outer) return;
    outer.#take(this);
    outer.#settle(undefined);
  }

  get hasWritten(): boolean {
    return this.#wrote || this.#outer?.hasWritten === true;
  }

  /** Whoever writes to a conversation that is nobody's makes it his. */
  #own(user: string | undefined): void {
    const there = this.#sees;
    if (user === undefined || there?.owner !== undefined || (!there && this.#erased)) return;
    this.#there().owner = user;
    this.#claims = this.#wrote = true;
  }

  #there(): Plain {
    this.#sees ??= nothing(this.#all.now());
    return this.#sees;
  }

  #take(from: PlainTurn): void {
    this.#sees = copyOf(from.#sees);
    this.#isNew = from.#isNew;
    this.#pending = from.#pending.map((one) => ({ ...one }));
    this.#erased = from.#erased;
    this.#clearedHistory = from.#clearedHistory;
    this.#claims = from.#claims;
    this.#ttl = from.#ttl;
  }

  #remove(name: string): boolean {
    const there = this.#sees?.fields.has(name) ?? false;
    if (there) this.#field(name, () => ABSENT);
    return there;
  }

  /** Changes a field: by a step that adds to what is there, or one that makes what was there before no matter. */
  #field(name: string, step: (before: unknown) => unknown, adds?: 'adds'): void {
    const value = step(this.#sees?.fields.get(name));
    const there = this.#there();
    this.#wrote = true;
    if (value === ABSENT) there.fields.delete(name);
    else there.fields.set(name, value);
    const at = this.#pending.findIndex((one) => one.kind === 'field' && one.name === name);
    const before = this.#pending[at];
    if (adds && before?.kind === 'field') {
      this.#pending[at] = { ...before, steps: [...before.steps, step] };
    } else {
      if (before) this.#pending.splice(at, 1);
      this.#pending.push({ kind: 'field', name, steps: [step], adds: adds !== undefined });
    }
  }
}

function nothing(now: number): Plain {
  return {
    ...{ fields: new Map(), history: [], dropped: 0, owner: undefined, updatedAt: now },
    ...{ expiresAt: undefined, ownTtl: undefined, replies: [] },
  };
}

function copyOf(plain: Plain | undefined): Plain | undefined {
  return plain && structuredClone(plain);
}

function sum(before: unknown, by: number): number {
  const value = before ?? (before === null ? null : 0);
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) throw new PlainError('WRONG_TYPE');
  return (value as number) + by;
}

function longer(before: unknown, item: unknown): unknown[] {
  const list = before === undefined ? [] : before;
  if (!Array.isArray(list)) throw new PlainError('WRONG_TYPE');
  return [...list, item];
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}
