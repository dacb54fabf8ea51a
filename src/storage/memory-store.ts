import type { Token } from '../json.js';
import type { Mutable } from '../mutable.js';
import type { EmbeddedStore } from './embedded-storage.js';
import { containerText, keyRange, type RecordKey } from './keys.js';
import type { Lease } from './lease.js';
import { applyFields, type Outcome, type RecordAttributes } from './outcome.js';
import type { Committed, Idempotency, ListQuery, RecordInfo, SweepQuery } from './state-storage.js';

interface Body extends Mutable<RecordAttributes> {
  readonly key: RecordKey;
  readonly text: string;
  readonly fields: Map<string, Token>;
  /** The kept entries begin at `logHead`; see `dropOld`. */
  log: Token[];
  logHead: number;
  /** By idempotency key, oldest first. */
  replies: Map<string, Token> | undefined;
}

interface Space {
  /** In the order of their last write, so that the stale ones come first. */
  readonly bodies: Map<string, Body>;
  /** The clock was set back: what was written since stands behind what is newer. */
  disordered: boolean;
  newest: number;
  readonly byContainer: Map<string, Set<string>>;
  readonly byOwner: Map<string, Set<string>>;
}

/** Answers kept at least, for commits that are sent again: in one process none is ever lost on its way. */
const ANSWERS = 256;

/** Records as objects of this process. Nothing here waits, so every step is alone by itself. */
export class MemoryStore implements EmbeddedStore<Body> {
  readonly backend = 'memory';
  readonly #spaces = new Map<string, Space>();
  readonly #leases = new Map<string, Lease>();
  /** Two generations: the older is dropped when the younger is full. */
  #answers = new Map<string, { at: number; answer: Committed }>();
  #olderAnswers: ReadonlyMap<string, { at: number; answer: Committed }> = new Map();
  #size = 0;
  #writesUntilPurge = 256;

  step<T>(_mode: 'read' | 'write', work: () => T): T {
    return work();
  }

  find(text: string, now: number, { space }: RecordKey): Body | undefined {
    const body = this.#spaces.get(space)?.bodies.get(text);
    if (!body || !isExpired(body, now)) return body;
    this.remove(body);
    return undefined;
  }

  reply({ replies }: Body, key: string): Token | undefined {
    return replies?.get(key);
  }

  replies({ replies }: Body): Iterable<[string, Token]> {
    return replies ?? [];
  }

  entries({ log, logHead, logDropped }: Body, start: number, end: number): Token[] {
    const at = logHead - logDropped;
    return log.slice(at + start, at + end);
  }

  write(key: RecordKey, text: string, before: Body | undefined, outcome: Outcome, idempotency?: Idempotency): void {
    const { plan, attributes } = outcome;
    const body = before ?? this.#create(key, text, attributes);
    applyFields(body.fields, plan);
    if (plan.clearLog) {
      body.log = [];
      body.logHead = 0;
    }
    for (const entry of plan.log) body.log.push(entry);
    dropOld(body, attributes.logTotal - attributes.logDropped);
    if (outcome.replies) body.replies = new Map(outcome.replies);
    if (idempotency) remember(body, idempotency);
    if (plan.owner) this.#own(body, plan.owner.value);
    body.version = attributes.version;
    body.createdAt = attributes.createdAt;
    body.updatedAt = attributes.updatedAt;
    body.expiresAt = attributes.expiresAt;
    body.ownTtl = attributes.ownTtl;
    body.logTotal = attributes.logTotal;
    body.logDropped = attributes.logDropped;
    const space = this.#spaceOf(key.space);
    space.bodies.delete(text);
    space.bodies.set(text, body);
    if (body.updatedAt < space.newest) space.disordered = true;
    else space.newest = body.updatedAt;
    this.#purgeWhenDue(attributes.updatedAt);
  }

  remove(body: Body): void {
    const space = this.#spaceOf(body.key.space);
    space.bodies.delete(body.text);
    removeFrom(space.byContainer, containerText(body.key), body.text);
    if (body.owner !== undefined) removeFrom(space.byOwner, body.owner, body.text);
    this.#size--;
  }

  lease(text: string): Lease | undefined {
    return this.#leases.get(text);
  }

  keepLease(text: string, lease: Lease, now: number): void {
    if (hasEnded(lease, now)) this.#leases.delete(text);
    else this.#leases.set(text, lease);
  }

  answer(name: string, since: number): Committed | undefined {
    const kept = this.#answers.get(name) ?? this.#olderAnswers.get(name);
    return kept && kept.at > since ? kept.answer : undefined;
  }

  keepAnswer(name: string, answer: Committed, now: number): void {
    this.#answers.set(name, { at: now, answer });
    if (this.#answers.size < ANSWERS) return;
    this.#olderAnswers = this.#answers;
    this.#answers = new Map();
  }

  *list(query: ListQuery): Iterable<RecordInfo> {
    const space = this.#spaces.get(query.space);
    if (!space) return;
    putInOrder(space);
    const container = query.scope && containerText({ space: query.space, scope: query.scope });
    const ofOwner = query.owner !== undefined;
    const names =
      query.owner !== undefined
        ? (space.byOwner.get(query.owner) ?? [])
        : container !== undefined
          ? (space.byContainer.get(container) ?? [])
          : space.bodies.keys();
    const found: Body[] = [];
    const { from } = keyRange(query);
    for (const name of names) {
      const body = space.bodies.get(name);
      if (!body || (query.after !== undefined && name < from)) continue;
      // The bodies are in the order of their last write: from here on they are all newer.
      if (query.updatedBefore !== undefined && body.updatedAt >= query.updatedBefore) {
        if (names instanceof Set || Array.isArray(names)) continue;
        break;
      }
      if (ofOwner && container !== undefined && containerText(body.key) !== container) continue;
      if (query.prefix !== undefined && !body.key.id.startsWith(query.prefix)) continue;
      found.push(body);
    }
    found.sort((a, b) => (a.text < b.text ? -1 : 1));
    for (const body of found) if (space.bodies.get(body.text) === body) yield infoOf(body);
  }

  *spaces(): Iterable<string> {
    for (const [name, { bodies }] of this.#spaces) if (bodies.size > 0) yield name;
  }

  sweep(query: SweepQuery, now: number): number {
    const container = query.scope && containerText({ space: query.space, scope: query.scope });
    let removed = 0;
    const space = this.#spaces.get(query.space);
    if (!space) return 0;
    putInOrder(space);
    for (const body of space.bodies.values()) {
      if (body.updatedAt >= query.updatedBefore) break;
      if (container !== undefined && containerText(body.key) !== container) continue;
      if ((this.#leases.get(body.text)?.until ?? 0) > now) continue;
      this.remove(body);
      if (!isExpired(body, now)) removed++;
    }
    return removed;
  }

  close(): void {
    this.#spaces.clear();
    this.#leases.clear();
    this.#answers = new Map();
    this.#olderAnswers = new Map();
  }

  #spaceOf(name: string): Space {
    let space = this.#spaces.get(name);
    if (!space) {
      space = { bodies: new Map(), byContainer: new Map(), byOwner: new Map(), disordered: false, newest: 0 };
      this.#spaces.set(name, space);
    }
    return space;
  }

  #create(key: RecordKey, text: string, attributes: RecordAttributes): Body {
    // Not `...attributes`: what V8 makes of a spread with more behind it costs several times the rest of a commit.
    const body: Body = {
      key: { space: key.space, scope: [...key.scope], id: key.id },
      text,
      fields: new Map(),
      log: [],
      logHead: 0,
      replies: undefined,
      version: attributes.version,
      owner: undefined, // `#own` sets it, with its index
      createdAt: attributes.createdAt,
      updatedAt: attributes.updatedAt,
      expiresAt: attributes.expiresAt,
      ownTtl: attributes.ownTtl,
      logTotal: attributes.logTotal,
      logDropped: attributes.logDropped,
    };
    this.#size++;
    addTo(this.#spaceOf(key.space).byContainer, containerText(key), text);
    return body;
  }

  #own(body: Body, owner: string | undefined): void {
    const { byOwner } = this.#spaceOf(body.key.space);
    if (body.owner !== undefined) removeFrom(byOwner, body.owner, body.text);
    if (owner !== undefined) addTo(byOwner, owner, body.text);
    body.owner = owner;
  }

  /** Expired records that nobody asks for again would stay for ever: a pass per doubling keeps that linear. */
  #purgeWhenDue(now: number): void {
    if (--this.#writesUntilPurge > 0) return;
    for (const { bodies } of this.#spaces.values()) {
      for (const body of bodies.values()) if (isExpired(body, now)) this.remove(body);
    }
    for (const [text, lease] of this.#leases) if (hasEnded(lease, now)) this.#leases.delete(text);
    this.#writesUntilPurge = Math.max(256, this.#size);
  }
}

/** Makes good what a clock that was set back has put out of order. */
function putInOrder(space: Space): void {
  if (!space.disordered) return;
  const bodies = [...space.bodies].sort(([, a], [, b]) => a.updatedAt - b.updatedAt);
  space.bodies.clear();
  for (const [text, body] of bodies) space.bodies.set(text, body);
  space.disordered = false;
}

function isExpired(body: Body, now: number): boolean {
  return body.expiresAt !== undefined && body.expiresAt <= now;
}

function hasEnded({ until, nextUntil }: Lease, now: number): boolean {
  return until <= now && nextUntil <= now;
}

/** Drops old entries by moving the head: taking them out of a long array each time would copy all of it. */
function dropOld(body: Body, kept: number): void {
  const over = body.log.length - body.logHead - kept;
  if (over <= 0) return;
  body.logHead += over;
  if (body.logHead < 64 + kept) return;
  body.log = body.log.slice(body.logHead);
  body.logHead = 0;
}

function infoOf({ key, owner, createdAt, updatedAt, expiresAt }: Body): RecordInfo {
  const ownKey = { space: key.space, scope: [...key.scope], id: key.id };
  return { key: ownKey, owner, createdAt, updatedAt, expiresAt };
}

function remember(body: Body, { key, reply, keep }: Idempotency): void {
  body.replies ??= new Map();
  body.replies.set(key, reply);
  for (const old of body.replies.keys()) {
    if (body.replies.size <= keep) return;
    body.replies.delete(old);
  }
}

function addTo(index: Map<string, Set<string>>, name: string, text: string): void {
  const set = index.get(name);
  if (set) set.add(text);
  else index.set(name, new Set([text]));
}

function removeFrom(index: Map<string, Set<string>>, name: string, text: string): void {
  const set = index.get(name);
  set?.delete(text);
  if (set?.size === 0) index.delete(name);
}
