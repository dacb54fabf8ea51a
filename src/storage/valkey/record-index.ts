import { messageOf } from '../../errors.js';
import type { Logger } from '../../logger.js';
import { encodeName, type RecordKey } from '../keys.js';
import type { ListQuery, RecordInfo, StateRecord } from '../state-storage.js';
import { type Attributes, type CommitAnswer, parseAttributes, parseFields, parseTokens } from './record-codec.js';
import { script } from './scripts.js';
import type { ValkeyConnection } from './valkey-connection.js';
import { containerOf, containerOfMember, keyOfMember, memberOf, type ValkeyKeys } from './valkey-keys.js';

/**
 * A record that was written is entered anew at most once in this time; its entry may be so much older than itself. It
 * costs the writer as much as a commit, and who reads the index only a look at the records of the last minute.
 */
const CONFIRM_MS = 60_000;
/** The entry of a record that never expires is looked at again after this time. */
const NEVER_DUE_MS = 30 * 24 * 3_600_000;
/** Due entries that one confirmation takes along: more than are made, so that they do not pile up. */
const DUE_LIMIT = 8;
/** Members read in one step. */
const PAGE = 500;
/** The same where the records are brought along. */
const CONTENTS_PAGE = 2_000;
/** Records this process remembers to have seen, at least. */
const REMEMBERED = 20_000;

/** A member with the due moment of its entry, as it was seen. */
export interface SeenEntry {
  readonly member: string;
  readonly due: string;
}

/**
 * The index of records: by name, by time of the last write, by owner, per space. The scripts `index-*.lua` say what
 * an entry is worth. Entries are announced before a record is made and confirmed after it was written, so that no
 * record lacks one whoever dies when; the rest happens on the side, at most once in `CONFIRM_MS` per record.
 */
export class RecordIndex {
  readonly #connection: ValkeyConnection;
  readonly #keys: ValkeyKeys;
  readonly #logger: Logger;
  /** How long an announced record may take to appear. */
  readonly #graceMs: number;
  /** Record key → when its entry was confirmed last, of records known to exist. Two generations bound it. */
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  readonly #background = new Set<Promise<unknown>>();
  /** Spaces that are on the list, or about to be. */
  readonly #spaces = new Map<string, Promise<unknown> | true>();

  constructor(connection: ValkeyConnection, keys: ValkeyKeys, logger: Logger, timeoutMs: number) {
    this.#connection = connection;
    this.#keys = keys;
    this.#logger = logger;
    this.#graceMs = 2 * timeoutMs;
  }

  /** Does this process have reason to believe that the record is there, hence in the index? */
  knows(record: string): boolean {
    return this.#young.has(record) || this.#old.has(record);
  }

  /** Notes that a record is there. */
  saw(record: string): void {
    if (!this.knows(record)) this.#remember(record, Number.NEGATIVE_INFINITY);
  }

  /** Notes that a record is gone. */
  forget(record: string): void {
    this.#young.delete(record);
    this.#old.delete(record);
  }

  /** Makes the entry of a record that may be about to be made; where replicas are asked for, as safe as that. */
  async announce(key: RecordKey, owner: string | undefined, writtenAt?: number): Promise<void> {
    const encoded = owner === undefined ? '' : encodeName(owner);
    const options = { wrote: () => true, writtenAt };
    const put = this.#put(key.space, memberOf(key), encoded, 'announce', `+${this.#graceMs}`, 0, options);
    await Promise.all([put, this.#enterSpace(key.space)]);
  }

  /** The spaces that anything was ever announced in. */
  async spaces(): Promise<string[]> {
    const names = await this.#connection.command('zrange', [this.#keys.spaces, '0', '-1']);
    return parseTokens(names).sort();
  }

  /** Once per space and process: there are a handful, and nobody takes one off the list. */
  #enterSpace(space: string): Promise<unknown> | undefined {
    let entered = this.#spaces.get(space);
    if (entered === undefined) {
      entered = this.#connection.command('zadd', [this.#keys.spaces, '0', space]);
      this.#spaces.set(space, entered);
      const known = entered;
      known.then(
        () => this.#spaces.set(space, true),
        () => this.#spaces.delete(space),
      );
    }
    return entered === true ? undefined : entered;
  }

  /** Sets the entry of a record that was just written, unless it was set a moment ago. Does not wait. */
  confirm(record: string, key: RecordKey, { answer, owner }: CommitAnswer, always: boolean): void {
    const now = performance.now();
    const last = this.#young.get(record) ?? this.#old.get(record);
    if (!always && last !== undefined && now - last < CONFIRM_MS) return;
    this.#remember(record, now);
    this.#aside(async () => {
      const due = dueOf(answer.expiresAt, this.#graceMs);
      const reply = await this.#put(key.space, memberOf(key), owner, momentOf(answer), due, DUE_LIMIT);
      const texts = parseTokens(reply);
      const seen: SeenEntry[] = [];
      for (let i = 0; i < texts.length; i += 2) seen.push({ member: texts[i] ?? '', due: texts[i + 1] ?? '' });
      await this.#lookAt(key.space, seen);
    });
  }

  /** Where the entry of a record stands; what `drop` wants to know from before the record was deleted. */
  async due(key: RecordKey): Promise<string | undefined> {
    const reply = await this.#connection.command('zscore', [this.#keys.index(key.space).due, memberOf(key)]);
    return reply === null ? undefined : String(reply);
  }

  /** Removes the entries of records that are gone, unless touched since. */
  async drop(space: string, gone: readonly SeenEntry[]): Promise<void> {
    if (gone.length === 0) return;
    const { names, times, due: dues, owners, ownersOf } = this.#keys.index(space);
    const keys = [names, times, dues, owners, ownersOf];
    for (const { member } of gone) keys.push(this.#keys.times(space, containerOfMember(member)));
    const args = [String(this.#graceMs), ...gone.flatMap(({ member, due }) => [member, due])];
    await this.#connection.run(script('index-drop'), keys, args, { repeatable: true });
  }

  /** The same without waiting. */
  dropAside(space: string, gone: readonly SeenEntry[]): void {
    this.#aside(() => this.drop(space, gone));
  }

  /** Waits for what happens on the side. */
  async idle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** Members of a space written before a moment, oldest first, as the index knows it: never later than it was. */
  async *stale(space: string, scope: readonly string[] | undefined, before: number): AsyncGenerator<SeenEntry[]> {
    const container = scope && containerOf({ space, scope });
    const keys = [this.#keys.times(space, container ?? ''), this.#keys.index(space).due];
    const met = new Set<string>();
    let from = '-inf';
    for (let limit = PAGE; ; ) {
      const texts = parseTokens(
        await this.#connection.run(script('index-stale'), keys, [from, String(Math.ceil(before)), String(limit)], {
          repeatable: true,
        }),
      );
      const page: SeenEntry[] = [];
      for (let i = 0; i < texts.length; i += 3) {
        const [member = '', time = '', due = ''] = texts.slice(i, i + 3);
        from = time;
        if (met.has(member)) continue;
        met.add(member);
        if (container === undefined || containerOfMember(member) === container) page.push({ member, due });
      }
      if (page.length > 0) yield page;
      if (texts.length < limit * 3) return;
      // More members of one moment than fit in a page must not stop the walk.
      if (texts[1] === from) limit *= 2;
    }
  }

  /** The records of a query, in the order of their names, looked at one page at a time. */
  async *list(query: ListQuery): AsyncGenerator<RecordInfo> {
    const pages =
      query.updatedBefore !== undefined && query.owner === undefined ? this.#byTime(query) : this.#byName(query);
    let left = query.limit ?? Number.POSITIVE_INFINITY;
    if (left === 0) return;
    for await (const members of pages) {
      const keys = members.map((member) => keyOfMember(query.space, member));
      const found = query.contents
        ? await this.#readAll(query.space, members, keys)
        : await this.inspect(query.space, members);
      for (const [i, key] of keys.entries()) {
        const seen = found[i];
        if (!seen) continue;
        const { owner, createdAt, updatedAt, expiresAt } = seen;
        if (query.owner !== undefined && owner !== query.owner) continue;
        if (query.updatedBefore !== undefined && updatedAt >= query.updatedBefore) continue;
        if (query.contents) yield { key, owner, createdAt, updatedAt, expiresAt, record: seen as StateRecord };
        else yield { key, owner, createdAt, updatedAt, expiresAt };
        if (--left === 0) return;
      }
    }
  }

  /** The records themselves, asked for in one go. */
  async #readAll(
    space: string,
    members: readonly string[],
    keys: readonly RecordKey[],
  ): Promise<(StateRecord | undefined)[]> {
    const read = (member: string) => this.#connection.command('hgetall', [this.#keys.recordOf(space, member)]);
    const replies = await Promise.all(members.map(read));
    return keys.map((key, i) => parseFields(replies[i], key));
  }

  /** What the records themselves say. */
  async inspect(space: string, members: readonly string[]): Promise<(Attributes | undefined)[]> {
    const records = members.map((member) => this.#keys.recordOf(space, member));
    const replies = await this.#connection.runEach(
      script('inspect'),
      records.map((record) => [record]),
      [],
    );
    return replies.map((reply) => (reply === null ? undefined : parseAttributes(String(reply))));
  }

  async *#byTime(query: ListQuery): AsyncGenerator<string[]> {
    const { space, scope, updatedBefore = Number.POSITIVE_INFINITY } = query;
    const wanted = `/:${encodeName(query.prefix ?? '')}`;
    const last = query.after === undefined ? '' : `/:${encodeName(query.after)}`;
    const members: string[] = [];
    for await (const page of this.stale(space, scope, updatedBefore)) {
      for (const { member } of page) {
        const id = member.slice(member.lastIndexOf('/:'));
        if (id.startsWith(wanted) && id > last) members.push(member);
      }
    }
    members.sort();
    for (let i = 0; i < members.length; i += PAGE) yield members.slice(i, i + PAGE);
  }

  async *#byName({ space, scope, prefix = '', after, owner, contents, limit }: ListQuery): AsyncGenerator<string[]> {
    const size = Math.min(contents ? CONTENTS_PAGE : PAGE, limit ?? Number.POSITIVE_INFINITY);
    const { names: byName, owners } = this.#keys.index(space);
    const set = owner === undefined ? byName : owners;
    const before = owner === undefined ? '' : `${encodeName(owner)} `;
    const wanted = `/:${encodeName(prefix)}`;
    const inside = before + (scope ? containerOf({ space, scope }) + wanted : '');
    // No name holds a character above `~`.
    const end = `(${inside}~`;
    const last = scope && after !== undefined ? `${before}${containerOf({ space, scope })}/:${encodeName(after)}` : '';
    for (let from = last < inside ? `[${inside}` : `(${last}`; ; ) {
      const args = [set, from, end, 'BYLEX', 'LIMIT', '0', String(size)];
      const page = parseTokens(await this.#connection.command('zrange', args));
      const names = page.map((text) => text.slice(before.length));
      const fitting = scope ? names : names.filter((name) => name.startsWith(wanted, name.lastIndexOf('/:')));
      if (fitting.length > 0) yield fitting;
      if (page.length < size) return;
      from = `(${page[page.length - 1]}`;
      if (!scope && fitting.length === 0) from = skipTo(before, names[names.length - 1] ?? '', wanted);
    }
  }

  /** Sees what became of due entries: those of records that live are set anew, the others removed. */
  async #lookAt(space: string, seen: readonly SeenEntry[]): Promise<void> {
    if (seen.length === 0) return;
    const found = await this.inspect(
      space,
      seen.map(({ member }) => member),
    );
    const living = seen.flatMap(({ member }, i) => {
      const attributes = found[i];
      return attributes ? [this.refresh(space, member, attributes)] : [];
    });
    await Promise.all([
      ...living,
      this.drop(
        space,
        seen.filter((_, i) => !found[i]),
      ),
    ]);
  }

  /** Sets the entry of a record that was found alive. */
  async refresh(space: string, member: string, attributes: Attributes): Promise<void> {
    const { expiresAt, owner } = attributes;
    const encoded = owner === undefined ? '' : encodeName(owner);
    await this.#put(space, member, encoded, momentOf(attributes), dueOf(expiresAt, this.#graceMs), 0);
  }

  #put(
    space: string,
    member: string,
    owner: string,
    time: string,
    due: string,
    limit: number,
    { wrote, writtenAt }: { wrote?: () => boolean; writtenAt?: number | undefined } = {},
  ): Promise<unknown> {
    const { names, times, due: dues, owners, ownersOf } = this.#keys.index(space);
    const container = this.#keys.times(space, containerOfMember(member));
    const keys = [names, times, container, dues, owners, ownersOf];
    const args = [member, owner, time, due, String(limit)];
    if (writtenAt !== undefined) args.push(String(writtenAt));
    return this.#connection.run(script('index-put'), keys, args, { repeatable: true, wrote });
  }

  #remember(record: string, at: number): void {
    this.#young.set(record, at);
    if (this.#young.size < REMEMBERED) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** What fails here is made good by the next confirmation, or when the entry is due. */
  #aside(work: () => Promise<unknown>): void {
    const done = work()
      .catch((error: unknown) => this.#logger.warn(`the index of records lags behind: ${messageOf(error)}`))
      .finally(() => this.#background.delete(done));
    this.#background.add(done);
  }
}

/** The time of a commit as the index has it: its version behind the point tells commits of one millisecond apart. */
function momentOf({ updatedAt, version }: { updatedAt: number; version: number }): string {
  return (updatedAt + (version % 1000) / 1000).toFixed(3);
}

/** An entry outlives its record by so much that one written since its last confirmation is rarely taken for gone. */
function dueOf(expiresAt: number | undefined, graceMs: number): string {
  return expiresAt === undefined ? `+${NEVER_DUE_MS}` : String(expiresAt + CONFIRM_MS + graceMs);
}

/** Where the search goes on after a page with nothing in it: at the wanted names of this container, or the next. */
function skipTo(before: string, last: string, wanted: string): string {
  const container = last.slice(0, last.lastIndexOf('/:'));
  const here = container + wanted;
  return last < here ? `[${before}${here}` : `(${before}${container}/:~`;
}
