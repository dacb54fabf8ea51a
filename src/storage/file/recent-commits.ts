import { toIso } from '../../clock.js';
import type { Checkpoint, RecentText } from './line-format.js';
import { momentOf } from './line-reading.js';

/** How long a commit id is remembered. */
export const RECENT_MS = 60_000;
/** How many of them a checkpoint hands on, at most; one that others have gone before, all. */
const IN_CHECKPOINT = 8;

/** What a commit came to, for as long as it may be sent again. */
export interface RecentCommit {
  readonly at: number;
  /** What it said when the record was written: another moment where that was brought from elsewhere. */
  readonly updatedAt: number;
  readonly version: number;
  readonly expiresAt: number | undefined;
  readonly logTotal: number;
  /** Integers that the commit has made, among them what its increments came to. */
  readonly ints: ReadonlyMap<string, number>;
}

/** The commits of a record that had an id, of the last minute. */
export class RecentCommits {
  readonly #commits = new Map<string, RecentCommit>();
  /** All commits since this moment are known. */
  since = 0;

  get(id: string, now: number): RecentCommit | undefined {
    const commit = this.#commits.get(id);
    return commit && commit.at > now - RECENT_MS ? commit : undefined;
  }

  add(id: string, commit: RecentCommit): void {
    for (const [old, { at }] of this.#commits) {
      if (at > commit.at - RECENT_MS) break;
      this.#commits.delete(old);
    }
    this.#commits.set(id, commit);
  }

  /** Adds what is known from elsewhere. It may have ended before `since`, so that is as it was. */
  addAll(others: RecentCommits): void {
    const all = new Map([...others.#commits, ...this.#commits]);
    if (all.size === this.#commits.size) return;
    this.#commits.clear();
    for (const [id, commit] of [...all].sort(([, a], [, b]) => a.at - b.at)) this.#commits.set(id, commit);
  }

  /** Takes over what a checkpoint says. Of the last minute it has only the newest. */
  read({ recent }: Checkpoint): void {
    for (const [id, text] of recent) this.#commits.set(id, fromText(text));
  }

  /** Nothing is known but what a checkpoint says. */
  onlyFrom({ at, recent }: Checkpoint): void {
    const oldest = recent.length < IN_CHECKPOINT ? undefined : recent[0]?.[1].at;
    this.since = oldest === undefined ? Date.parse(at) - RECENT_MS : Date.parse(oldest);
  }

  /** What a checkpoint is to say. `all`: of the whole minute, where the lines before it go. */
  texts(now: number, all: boolean): [string, RecentText][] {
    const texts: [string, RecentText][] = [];
    let older = all ? 0 : this.#commits.size - IN_CHECKPOINT;
    for (const [id, commit] of this.#commits) {
      if (older-- <= 0 && commit.at > now - RECENT_MS) texts.push([id, toText(commit)]);
    }
    return texts;
  }
}

function toText({ at, updatedAt, version, logTotal, expiresAt, ints }: RecentCommit): RecentText {
  return {
    at: toIso(at),
    ...(updatedAt !== at && { updated: toIso(updatedAt) }),
    v: version,
    total: logTotal,
    expires: expiresAt === undefined ? null : toIso(expiresAt),
    ints: Object.fromEntries(ints),
  };
}

function fromText({ at, updated, v, total, expires, ints }: RecentText): RecentCommit {
  return {
    at: Date.parse(at),
    updatedAt: Date.parse(updated ?? at),
    version: v,
    logTotal: total,
    expiresAt: momentOf(expires),
    ints: new Map(Object.entries(ints ?? {})),
  };
}
