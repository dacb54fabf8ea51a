import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../clock.js';
import { AgentUpError } from '../errors.js';
import { deleteUnchanged } from '../storage/delete-unchanged.js';
import { keyText, type RecordKey } from '../storage/keys.js';
import type { RecordInfo, StateRecord, StateStorage } from '../storage/state-storage.js';
import { uniqueId } from '../unique-id.js';
import { inParallel } from './in-parallel.js';
import { ChangedMeanwhile, DigestSum, type Measured, measure, readWhole, untilStill } from './whole-record.js';
import { UNFINISHED, writeWhole } from './write-record.js';

/** Passes over the source after which what still changes is left to a later run. */
const MAX_PASSES = 8;
/** How long a lease protects the removal of one record, in milliseconds. */
const MOVE_LEASE_MS = 30_000;
/** How long what a move writes for a moment is there at most, in seconds. */
const PROBE_TTL = 60;

export interface MigrateOptions {
  /** Only these spaces. Default: all that the source holds. */
  readonly spaces?: readonly string[] | undefined;
  /** Say what would be done, write nothing. */
  readonly dryRun?: boolean | undefined;
  /** Remove each record from the source once it is proven to be in the target. */
  readonly move?: boolean | undefined;
  /**
   * Remove from the target what the source has not: conversations that were deleted since an earlier run, and whatever
   * else is there; so not with `move`, and not of a source that is empty. Default: what this run has not brought itself stays.
   */
  readonly mirror?: boolean | undefined;
  /** Records under way at a time. Default 16. */
  readonly parallel?: number | undefined;
  /** Ends it early, between two records: the same call goes on from there. @throws CANCELLED */
  readonly signal?: AbortSignal | undefined;
  readonly clock?: Clock | undefined;
  /** Called after each record and whenever the phase changes. */
  readonly onProgress?: ((progress: MigrateProgress) => void) | undefined;
}

/** How far it is. `done` of `total` are records of the source. */
export interface MigrateProgress {
  readonly phase: 'counting' | 'copying' | 'catching up' | 'verifying' | 'removing';
  readonly done: number;
  /** As counted in the beginning; more may have come since. */
  readonly total: number;
  /** Records that were written so far. */
  readonly copied: number;
}

export interface MigrateReport {
  /** Records of the source. */
  readonly records: number;
  /** Were written; in a dry run: would be. A record that changed meanwhile counts once each time. */
  readonly copied: number;
  /** Were in the target already, from an earlier run. */
  readonly same: number;
  /** Are newer in the target, or with `move` were moved before and have begun anew since, and were left as they are. */
  readonly kept: number;
  /** Removed from the target, as they were deleted at the source meanwhile, or with `mirror` are not there. */
  readonly dropped: number;
  /** Removed from the source. */
  readonly moved: number;
  /** Bytes that were compared in the end. */
  readonly bytes: number;
  /** Over all records that were compared, in both; equal, or the migration would have failed. Empty in a dry run. */
  readonly digest: string;
  /** Passes over the source until nothing was left to copy. */
  readonly passes: number;
  /** Did replies kept for redelivered messages go along? Not where one of the two does not carry them. */
  readonly replies: boolean;
}

type Times = Pick<RecordInfo, 'createdAt' | 'updatedAt'>;

/** What is to be remembered of a record until it is removed: not what it holds. */
interface Compared {
  readonly key: RecordKey;
  readonly digest: string;
}

type Fate = 'copied' | 'same' | 'kept' | 'gone';

/**
 * Brings every record of a storage into another: conversations, caches, due entries, whatever it holds, with owner,
 * times, life and log positions, and replies kept for redelivered messages where both storages `carriesReplies`. Leases
 * stay. The source may be in use: passes follow each other until one finds nothing new. What is newer in the target is left alone, so a run that
 * was interrupted is simply started again, and a target already in use loses nothing. In the end every record is read
 * on both sides and compared by its digest.
 * @throws CANCELLED, CONFLICT where records keep changing or do not come out equal, INVALID_ARGUMENT where a move or a
 * mirror would remove everything, and what the storages throw
 */
export async function migrate(
  source: StateStorage,
  target: StateStorage,
  options: MigrateOptions = {},
): Promise<MigrateReport> {
  return new Migration(source, target, options).run();
}

class Migration {
  readonly #source: StateStorage;
  readonly #target: StateStorage;
  readonly #options: MigrateOptions;
  readonly #now: () => number;
  readonly #replies: boolean;
  /** Text of the key → when the source had written it, as this run has seen it. */
  readonly #seen = new Map<string, number>();
  /** What this run has brought, by the text of its key. */
  readonly #written = new Map<string, RecordKey>();
  #progress: MigrateProgress = { phase: 'counting', done: 0, total: 0, copied: 0 };
  #copied = 0;

  constructor(source: StateStorage, target: StateStorage, options: MigrateOptions) {
    if (source === target) throw sameStorage();
    if (options.move && options.mirror) {
      // What an earlier run has moved is in the target alone.
      throw new AgentUpError('INVALID_ARGUMENT', 'a mirror of a source that is moved would be empty in the end', {
        argument: 'mirror',
        fix: 'move without mirror: what is moved already stays in the target',
      });
    }
    this.#source = source;
    this.#target = target;
    this.#options = options;
    this.#replies = source.carriesReplies === true && target.carriesReplies === true;
    const { clock = systemClock } = options;
    this.#now = () => clock.now();
  }

  async run(): Promise<MigrateReport> {
    const { dryRun = false, move = false, mirror = false } = this.#options;
    if (move && !dryRun) await this.#assertApart();
    let total = 0;
    for await (const _ of this.#infos()) total++;
    if (mirror && total === 0) throw emptySource();
    this.#tell({ phase: 'copying', done: 0, total });
    const first = await this.#pass(dryRun);
    const { same, kept } = first;
    const result = { records: first.copied + same + kept, same, kept, replies: this.#replies };
    if (dryRun) {
      const dropped = mirror ? await this.#dropOthers(true) : 0;
      return { ...result, copied: first.copied, dropped, moved: 0, bytes: 0, digest: '', passes: 1 };
    }
    let passes = 1;
    for (let changed = first.copied; changed > 0; passes++) {
      if (passes > MAX_PASSES) break;
      this.#tell({ phase: 'catching up', done: 0, total });
      ({ copied: changed } = await this.#pass(false));
    }
    const dropped = (await this.#dropGone()) + (mirror ? await this.#dropOthers(false) : 0);
    this.#tell({ phase: 'verifying', done: 0, total });
    const { compared, sum, bytes } = await this.#verify();
    const moved = move ? await this.#remove(compared) : 0;
    return { ...result, copied: this.#copied, dropped, moved, bytes, digest: sum, passes };
  }

  /**
   * One place has many names (a link, `localhost`, an address), and moved into itself it would be empty. @throws
   * INVALID_ARGUMENT
   */
  async #assertApart(): Promise<void> {
    const probe: RecordKey = { space: 'migrations', scope: [], id: uniqueId() };
    await this.#target.commit(probe, [{ op: 'touch' }], { expiry: { set: PROBE_TTL } });
    const isSame = (await this.#source.read(probe, { fields: [] })) !== undefined;
    await this.#target.delete(probe);
    if (isSame) throw sameStorage();
  }

  async *#infos(): AsyncGenerator<RecordInfo> {
    for (const space of this.#options.spaces ?? (await this.#source.spaces())) {
      for await (const info of this.#source.list({ space })) {
        this.#assertWanted();
        yield info;
      }
    }
  }

  /** Goes over the source once and brings what the target has not, or has older. */
  async #pass(dryRun: boolean): Promise<Record<Fate, number>> {
    const fates: Record<Fate, number> = { copied: 0, same: 0, kept: 0, gone: 0 };
    await this.#each(this.#infos(), async (info) => {
      const fate = await this.#bring(info, dryRun);
      fates[fate]++;
    });
    return fates;
  }

  async #bring(info: RecordInfo, dryRun: boolean): Promise<Fate> {
    const { key, updatedAt } = info;
    const text = keyText(key);
    // Two writes of one millisecond are told apart in the end, by digest.
    if (this.#seen.get(text) === updatedAt) return 'same';
    let theirs = await this.#target.read(key, { fields: [] });
    this.#seen.set(text, updatedAt);
    if (theirs && isSame(info, theirs)) return 'same';
    if (theirs && this.#isToStay(theirs, info)) return 'kept';
    if (dryRun) return 'copied';
    return untilStill(key, async () => {
      const whole = await this.#whole(key);
      if (!whole || this.#isOver(whole.head)) return 'gone';
      if (!(await writeWhole(this.#target, whole, theirs?.version ?? 0))) {
        theirs = await this.#target.read(key, { fields: [] });
        if (theirs && this.#isToStay(theirs, whole.head)) return 'kept';
        throw new ChangedMeanwhile();
      }
      this.#seen.set(text, whole.head.updatedAt);
      this.#written.set(text, key);
      this.#copied++;
      return 'copied';
    });
  }

  /**
   * Is what the target has newer? Or, in a move, what an earlier run has moved, of a conversation that has begun anew at
   * the source: there is no other copy of it.
   */
  #isToStay(theirs: Times, ours: Times & { readonly key: RecordKey }): boolean {
    if (theirs.updatedAt > ours.updatedAt) return true;
    if (!this.#options.move || theirs.createdAt === ours.createdAt || theirs.updatedAt === UNFINISHED) return false;
    return !this.#written.has(keyText(ours.key));
  }

  /** What this run has brought and the source has not any more was deleted there, or has expired. */
  async #dropGone(): Promise<number> {
    let dropped = 0;
    await inParallel(this.#written, this.#parallel, async ([text, key]) => {
      if (await this.#source.read(key, { fields: [] })) return;
      const theirs = await this.#target.read(key, { fields: [] });
      // What was written there since is newer than what was deleted.
      if (!theirs || theirs.updatedAt > (this.#seen.get(text) ?? 0)) return;
      if (await deleteUnchanged(this.#target, key, theirs.version)) dropped++;
    });
    return dropped;
  }

  /** What no pass has met, and the source has not now either. */
  async #dropOthers(dryRun: boolean): Promise<number> {
    let dropped = 0;
    for (const space of this.#options.spaces ?? (await this.#target.spaces())) {
      await inParallel(this.#target.list({ space }), this.#parallel, async ({ key }) => {
        if (this.#seen.has(keyText(key)) || (await this.#source.read(key, { fields: [] }))) return;
        if (dryRun || (await this.#target.delete(key))) dropped++;
      });
    }
    return dropped;
  }

  async #verify(): Promise<{ compared: Compared[]; sum: string; bytes: number }> {
    const [ours, theirs] = [new DigestSum(), new DigestSum()];
    const compared: Compared[] = [];
    let bytes = 0;
    await this.#each(this.#infos(), async ({ key }) => {
      const found = await this.#compare(key);
      if (!found) return;
      ours.add(found.source.digest);
      theirs.add(found.target.digest);
      bytes += found.source.bytes;
      if (this.#options.move) compared.push({ key, digest: found.source.digest });
    });
    if (ours.hex !== theirs.hex) throw new AgentUpError('STORAGE_FAILED', 'the digests of source and target differ');
    return { compared, sum: ours.hex, bytes };
  }

  /** Both sides of a record, equal; `undefined` where it is gone, or newer in the target. @throws CONFLICT */
  async #compare(key: RecordKey): Promise<{ source: Measured; target: Measured } | undefined> {
    for (let tries = 0; ; tries++) {
      const [source, target] = await Promise.all([this.#measure(this.#source, key), this.#measure(this.#target, key)]);
      if (!source || this.#isOver(source.head)) return undefined;
      if (target && target.digest === source.digest) return { source, target };
      if (target && this.#isToStay(target.head, source.head)) return undefined;
      if (tries === MAX_PASSES) {
        throw new AgentUpError('CONFLICT', `the record ${key.id} does not come out equal in source and target`, {
          recordId: key.id,
          space: key.space,
          fix: 'run the migration again; where the record is written all the time, stop its writer',
        });
      }
      const whole = await untilStill(key, async () => {
        const read = await this.#whole(key);
        // Where somebody has written to it meanwhile, both are looked at again.
        return read && writeWhole(this.#target, read, target?.version ?? 0);
      });
      if (whole) this.#copied++;
    }
  }

  /** Removes what was compared from the source, each under its lease and only if it is still as it was. */
  async #remove(compared: readonly Compared[]): Promise<number> {
    let moved = 0;
    this.#tell({ phase: 'removing', done: 0, total: compared.length });
    await this.#each(compared, async ({ key, digest }) => {
      const token = randomBytes(12).toString('hex');
      const begun = await this.#source.begin(key, { token, leaseMs: MOVE_LEASE_MS });
      if (begun.busy) return;
      const still = await this.#measure(this.#source, key);
      if (still?.digest === digest && (await deleteUnchanged(this.#source, key, still.version))) moved++;
      await this.#source.commit(key, [], { lease: { token } });
    });
    return moved;
  }

  #whole(key: RecordKey): ReturnType<typeof readWhole> {
    return readWhole(this.#source, key, { replies: this.#replies });
  }

  #measure(storage: StateStorage, key: RecordKey): Promise<Measured | undefined> {
    return measure(storage, key, { replies: this.#replies });
  }

  async #each<T>(items: Iterable<T> | AsyncIterable<T>, work: (item: T) => Promise<void>): Promise<void> {
    let done = 0;
    await inParallel(items, this.#parallel, async (item) => {
      this.#assertWanted();
      await work(item);
      this.#tell({ done: ++done });
    });
  }

  get #parallel(): number {
    return this.#options.parallel ?? 16;
  }

  #isOver({ expiresAt }: { readonly expiresAt: number | undefined }): boolean {
    return expiresAt !== undefined && expiresAt <= this.#now();
  }

  #assertWanted(): void {
    if (!this.#options.signal?.aborted) return;
    throw new AgentUpError('CANCELLED', 'the migration was interrupted', {
      fix: 'start it again: what has been copied is not copied twice',
    });
  }

  #tell(change: Partial<MigrateProgress>): void {
    this.#progress = { ...this.#progress, ...change, copied: this.#copied };
    this.#options.onProgress?.(this.#progress);
  }
}

/** A name that was misspelt reads as an empty storage. */
function emptySource(): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', 'the source holds nothing, and its mirror would be an empty target', {
    argument: 'mirror',
    fix: 'look whether the source is the right one; nothing was changed',
  });
}

function sameStorage(): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', 'source and target are the same storage', {
    argument: 'target',
    fix: 'name another target; nothing was changed',
  });
}

/** As far as it can be told without the contents: what is only half there has another time. */
function isSame(ours: RecordInfo, theirs: StateRecord): boolean {
  const names = ['owner', 'createdAt', 'updatedAt', 'expiresAt'] as const;
  return names.every((name) => ours[name] === theirs[name]);
}
