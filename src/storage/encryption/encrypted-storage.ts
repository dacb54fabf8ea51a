import { setTimeout as delay } from 'node:timers/promises';
import { checkObject } from '../../check-object.js';
import { AgentUpError, isAgentUpError } from '../../errors.js';
import type { Token } from '../../json.js';
import { checkCommit, meets } from '../changes.js';
import { ForwardingStorage } from '../forwarding-storage.js';
import { keyText, type RecordKey } from '../keys.js';
import {
  type BeginOptions,
  type Begun,
  type Change,
  type CommitLease,
  type CommitOptions,
  type Committed,
  type ListQuery,
  type LogOptions,
  type LogPage,
  REPLY_NOT_KEPT,
  type ReadOptions,
  type RecordInfo,
  type Refused,
  type StateRecord,
  type StateStorage,
} from '../state-storage.js';
import type { EncryptionOptions } from './encryption-key.js';
import { comparesFields, FoldedCommit } from './folded-commit.js';
import { KeyedQueue } from './keyed-queue.js';
import { SeenTokens } from './seen-tokens.js';
import { TokenCipher } from './token-cipher.js';

/** Commits of other processes that may come between before a commit is given up. */
const MAX_TRIES = 200;
/** Longest pause between two tries, in milliseconds. */
const MAX_PAUSE_MS = 50;

/**
 * A storage whose values are encrypted before they reach the one behind it. Values of fields, log entries and kept
 * replies are; keys, field names, owners, times and counts are not.
 *
 * Costs no round trip, but where a commit adds to a field or compares one: the storage behind cannot do that on what it
 * cannot read. Then the fields are read first, unless they are known from a `begin` under the same lease, and the
 * commit goes through only if they have not changed since; otherwise it is made anew.
 */
export class EncryptedStorage extends ForwardingStorage {
  readonly #cipher: TokenCipher;
  readonly #seen = new SeenTokens();
  /** Commits that compare wait for each other here; only those of other processes can come between. */
  readonly #queue = new KeyedQueue();

  /** @throws INVALID_ARGUMENT when a key is not 32 bytes */
  constructor(inner: StateStorage, options: EncryptionOptions | TokenCipher) {
    super(inner);
    checkObject(options, 'EncryptedStorage', 'new EncryptedStorage(storage, { key })');
    this.#cipher = options instanceof TokenCipher ? options : new TokenCipher(options);
  }

  override async begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    const begun = await this.inner.begin(key, options);
    if (begun.busy) return begun;
    try {
      return { busy: false, record: this.#begun(key, begun.record, options) };
    } catch (error) {
      // Nobody was told of this lease. One that does not get back ends by itself.
      await this.inner.commit(key, [], { lease: { token: options.token } }).catch(() => {});
      throw error;
    }
  }

  override async read(key: RecordKey, options?: ReadOptions): Promise<StateRecord | undefined> {
    const record = await this.inner.read(key, options);
    return record && this.#opened(key, keyText(key), record, options?.idempotencyKey);
  }

  override async readLog(key: RecordKey, options?: LogOptions): Promise<LogPage> {
    const page = await this.inner.readLog(key, options);
    const text = keyText(key);
    return { ...page, entries: page.entries.map((entry) => this.#cipher.open(key, text, 'log', entry)) };
  }

  override async commit(
    key: RecordKey,
    changes: readonly Change[],
    options: CommitOptions = {},
  ): Promise<Committed | Refused> {
    checkCommit(key, changes, options);
    const text = keyText(key);
    const { idempotency } = options;
    const sealed = this.#sealedOptions(text, options);
    if (comparesFields(changes, options)) {
      return this.#queue.run(text, () => this.#fold(key, text, changes, options, sealed));
    }
    const stored = changes.map((change) => this.#sealed(text, change));
    const answer = await this.inner.commit(key, stored, sealed);
    if (!answer.committed) {
      return { committed: false, record: this.#opened(key, text, answer.record, idempotency?.key) };
    }
    return this.#settled(key, options.lease, stored, answer);
  }

  override async *list(query: ListQuery): AsyncIterable<RecordInfo> {
    for await (const info of this.inner.list(query)) {
      if (!info.record) yield info;
      else yield { ...info, record: this.#opened(info.key, keyText(info.key), info.record) };
    }
  }

  /** A commit that adds to fields or compares them. */
  async #fold(
    key: RecordKey,
    text: string,
    changes: readonly Change[],
    options: CommitOptions,
    sealed: CommitOptions,
  ): Promise<Committed | Refused> {
    const { lease, idempotency, condition } = options;
    const folded = new FoldedCommit(this.#cipher, key, changes, options);
    let stored: ReadonlyMap<string, Token> | undefined = this.#seen.find(lease?.token, text);
    stored ??= (await this.inner.read(key, { fields: folded.fields }))?.fields;
    for (let tries = 1; ; tries++) {
      const attempt = folded.against(stored ?? NONE);
      const answer = await this.inner.commit(key, attempt.changes, { ...sealed, condition: attempt.condition });
      if (answer.committed) {
        const settled = this.#settled(key, lease, attempt.changes, answer);
        return { ...settled, incremented: attempt.incremented(answer) };
      }
      const record = this.#opened(key, text, answer.record, idempotency?.key);
      if (record?.reply !== undefined && idempotency) return { committed: false, record };
      if (!meets(record, condition)) return { committed: false, record };
      stored = answer.record?.fields;
      if (attempt.error !== undefined && folded.isSame(attempt, stored ?? NONE)) throw attempt.error;
      if (tries === MAX_TRIES) {
        throw new AgentUpError('CONFLICT', `others kept writing to ${JSON.stringify(key.id)}`, {
          recordId: key.id,
          space: key.space,
        });
      }
      if (tries > 1) await delay(Math.random() * Math.min(2 ** tries, MAX_PAUSE_MS));
    }
  }

  /** What a commit under a lease came to, with the turn that it has begun. */
  #settled(key: RecordKey, lease: CommitLease | undefined, stored: readonly Change[], answer: Committed): Committed {
    if (lease) this.#seen.settle(lease, stored);
    const { begun } = answer;
    if (!begun || !lease?.next) return answer;
    try {
      return { ...answer, begun: { record: this.#begun(key, begun.record, lease.next) } };
    } catch {
      // Whoever comes next asks for the record, and is told what is wrong with it.
      return { ...answer, begun: undefined };
    }
  }

  #begun(key: RecordKey, record: StateRecord | undefined, options: BeginOptions): StateRecord | undefined {
    const text = keyText(key);
    const opened = this.#opened(key, text, record, options.idempotencyKey);
    this.#seen.note(options, text, record?.fields ?? new Map());
    return opened;
  }

  #sealedOptions(text: string, options: CommitOptions): CommitOptions {
    const { idempotency, carried } = options;
    const seal = (key: string, reply: Token): Token => this.#cipher.seal(text, { reply: key }, reply);
    if (idempotency) {
      return { ...options, idempotency: { ...idempotency, reply: seal(idempotency.key, idempotency.reply) } };
    }
    if (!carried?.replies) return options;
    const replies = new Map([...carried.replies].map(([key, reply]) => [key, seal(key, reply)]));
    return { ...options, carried: { ...carried, replies } };
  }

  #sealed(text: string, change: Change): Change {
    switch (change.op) {
      case 'set':
        return { ...change, value: this.#cipher.seal(text, { field: change.field }, change.value) };
      case 'log':
        return { ...change, entry: this.#cipher.seal(text, 'log', change.entry) };
      default:
        return change;
    }
  }

  #opened(
    key: RecordKey,
    text: string,
    record: StateRecord | undefined,
    idempotencyKey?: string,
  ): StateRecord | undefined {
    if (!record) return undefined;
    const cipher = this.#cipher;
    const fields = new Map<string, Token>();
    for (const [field, token] of record.fields) fields.set(field, cipher.open(key, text, { field }, token));
    const log = record.log.map((entry) => cipher.open(key, text, 'log', entry));
    const { reply, replies } = record;
    if (reply === undefined && replies === undefined) return { ...record, fields, log };
    const open = (name: string, token: Token): Token => this.#openedReply(key, text, name, token);
    return {
      ...record,
      fields,
      log,
      reply: reply === undefined || idempotencyKey === undefined ? undefined : open(idempotencyKey, reply),
      replies: replies && new Map([...replies].map(([name, token]) => [name, open(name, token)])),
    };
  }

  /**
   * What is left of one whose key is gone, when all else of the record has been opened, is that the work was done: that
   * must neither be forgotten nor make a fault of the storage.
   */
  #openedReply(key: RecordKey, text: string, idempotencyKey: string, reply: Token): Token {
    try {
      return this.#cipher.open(key, text, { reply: idempotencyKey }, reply);
    } catch (error) {
      if (isAgentUpError(error, 'KEY_MISSING') || isAgentUpError(error, 'VALUE_NOT_ENCRYPTED')) return REPLY_NOT_KEPT;
      throw error;
    }
  }
}

const NONE: ReadonlyMap<string, Token> = new Map();
