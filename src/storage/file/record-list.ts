import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentUpError } from '../../errors.js';
import { keyText, type RecordKey } from '../keys.js';
import type { ListQuery, RecordInfo, SweepQuery } from '../state-storage.js';
import { removeIfGone } from './dead-marks.js';
import { isMissing } from './file-errors.js';
import { fileName, textOfFileName } from './file-name.js';
import { withoutLog } from './record-copy.js';
import type { RecordFold } from './record-fold.js';
import type { Listed } from './record-glimpses.js';
import { ASK_AGAIN_MS } from './record-leases.js';
import type { RecordShelf } from './record-shelf.js';
import { statOf } from './stat-of.js';
import { containerPath, directoriesUnder, fileNames, SUFFIX } from './walk.js';

/** Directory entries looked at without a pause. */
const STRIDE = 256;
/** What is left beside a record for so long belongs to nobody who is still at work. */
const LEFTOVER_MS = 3_600_000;
const LEFTOVER = /\.jsonl(?:\.lock(?:\.dead-[0-9a-f]+)?|\.lease(?:\.tmp)?|\.tmp)$/;

interface Found {
  readonly path: string;
  readonly key: RecordKey;
  readonly text: string;
}

/** The records of a query: names first, in their order, then each as it is when its turn comes. */
export async function* listRecords(
  shelf: RecordShelf,
  query: ListQuery,
  assertOpen: () => void,
): AsyncGenerator<RecordInfo> {
  const container = containerPath(shelf.root, query.space, query.scope ?? []);
  const found: Found[] = [];
  const { space, scope, after } = query;
  const last = after === undefined || !scope ? '' : keyText({ space, scope, id: after });
  for await (const path of pathsOf(shelf, query, container)) {
    const key = keyOf(shelf, path, query.space);
    if (!key || (query.prefix !== undefined && !key.id.startsWith(query.prefix))) continue;
    const text = keyText(key);
    if (text > last) found.push({ path, key, text });
  }
  found.sort((a, b) => (a.text < b.text ? -1 : 1));
  let met = 0;
  let left = query.limit ?? Number.POSITIVE_INFINITY;
  for (const { path, key } of found) {
    if (left === 0) return;
    if (++met % STRIDE === 0) await pause();
    assertOpen();
    const fold = query.contents ? lookAt(shelf, path) : undefined;
    const listed = query.contents ? fold : unlessDamaged(shelf, path, () => shelf.listed(path));
    if (isListed(shelf, listed, query)) {
      const { owner, createdAt, updatedAt, expiresAt } = listed;
      const info = { key, owner, createdAt, updatedAt, expiresAt };
      left--;
      yield fold ? { ...info, record: withoutLog(fold) } : info;
    } else if (query.owner !== undefined) await tidyEntry(shelf, query.owner, path);
  }
}

/** Removes the records that were last written before a moment. Only those are opened. */
export async function sweepRecords(shelf: RecordShelf, query: SweepQuery, assertOpen: () => void): Promise<number> {
  const container = containerPath(shelf.root, query.space, query.scope ?? []);
  /** The directories of the index that may be empty now: each is looked at once, not for every record. */
  const emptied = new Set<string>();
  let removed = 0;
  let met = 0;
  try {
    for (const directory of query.scope ? [container] : directoriesUnder(container)) {
      for (const name of shelf.guarded(directory, () => fileNames(directory))) {
        if (++met % STRIDE === 0) await pause();
        assertOpen();
        const path = `${directory}/${name}`;
        if (name.endsWith(SUFFIX)) {
          const mtimeMs = statOf(path)?.mtimeMs ?? Number.POSITIVE_INFINITY;
          const isOld = mtimeMs < query.updatedBefore + shelf.files.timeSlack;
          if (isOld && (await sweepOne(shelf, path, query.updatedBefore, emptied))) removed++;
        } else if (LEFTOVER.test(name)) await clearLeftover(shelf, path);
      }
    }
  } finally {
    for (const directory of emptied) shelf.owners.tidy(directory);
  }
  return removed;
}

async function* pathsOf(shelf: RecordShelf, query: ListQuery, container: string): AsyncGenerator<string> {
  const { owner, updatedBefore } = query;
  const top = owner === undefined ? container : shelf.owners.directory(owner, container);
  let met = 0;
  for (const directory of query.scope ? [top] : directoriesUnder(top)) {
    for (const name of shelf.guarded(directory, () => fileNames(directory))) {
      if (++met % STRIDE === 0) await pause();
      if (!name.endsWith(SUFFIX)) continue;
      // The entries of an owner lie as the records do.
      const path = `${container}${directory.slice(top.length)}/${name}`;
      // The time of a file is that of its last line, or later where somebody has touched it.
      if (updatedBefore === undefined || (statOf(path)?.mtimeMs ?? 0) < updatedBefore + shelf.files.timeSlack)
        yield path;
    }
  }
}

function isListed(shelf: RecordShelf, listed: Listed | undefined, query: ListQuery): listed is Listed {
  if (!listed || isExpired(listed, shelf.now())) return false;
  if (query.owner !== undefined && listed.owner !== query.owner) return false;
  return query.updatedBefore === undefined || listed.updatedAt < query.updatedBefore;
}

function isExpired({ expiresAt }: Listed, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}

/** The record, or `undefined` where there is none that can be read: that is reported, and keeps nobody from the rest. */
function lookAt(shelf: RecordShelf, path: string): RecordFold | undefined {
  return unlessDamaged(shelf, path, () => shelf.peek(path, (fold) => fold));
}

function unlessDamaged<R>(shelf: RecordShelf, path: string, look: () => R): R | undefined {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof AgentUpError) || error.code !== 'RECORD_CORRUPT') throw error;
    shelf.logger.error(error, `${path} is left out of the list`);
    return undefined;
  }
}

/** Removes an entry of the index that says what is no longer so; and an expired record that it leads to. */
async function tidyEntry(shelf: RecordShelf, owner: string, path: string): Promise<void> {
  try {
    const tidied = shelf.exclusive(path, (desk) => {
      const fold = desk.read();
      const expired = fold?.isExpired(shelf.now()) ?? false;
      if (fold && expired && !shelf.leases.isHeld(path, shelf.now())) shelf.erase(desk, fold);
      if (!fold || expired || fold.owner !== owner) shelf.owners.remove(owner, path);
    });
    // Who closes meanwhile waits for it, or its lock would be taken anew after all had been put away.
    await shelf.pending(tidied);
  } catch (error) {
    shelf.logger.warn(error, `the index of ${path} could not be put right`);
  }
  shelf.dismiss(path);
}

async function sweepOne(
  shelf: RecordShelf,
  path: string,
  updatedBefore: number,
  emptied: Set<string>,
): Promise<boolean> {
  if (!keyOf(shelf, path, '')) return false;
  const sweep = (): Promise<boolean | undefined> =>
    shelf.exclusive(path, (desk) => {
      const now = shelf.now();
      const listed = shelf.listed(path);
      if (listed && listed.updatedAt >= updatedBefore) return false;
      if (!shelf.leases.known) return undefined;
      const erased = shelf.leases.without(path, now, () => {
        shelf.erase(desk, listed, emptied);
        return listed !== undefined && !isExpired(listed, now);
      });
      return erased ?? false;
    });
  try {
    // Some seconds at most, where another process does not say at once which leases it has.
    for (;;) {
      const swept = await sweep();
      if (swept !== undefined) return swept;
      await delay(ASK_AGAIN_MS);
    }
  } catch (error) {
    if (!(error instanceof AgentUpError) || error.code !== 'RECORD_CORRUPT') throw error;
    shelf.logger.error(error, `${path} is not cleaned up`);
    return false;
  } finally {
    shelf.dismiss(path);
  }
}

/** What a process left that died. */
async function clearLeftover(shelf: RecordShelf, path: string): Promise<void> {
  const age = Date.now() - (statOf(path)?.ctimeMs ?? Date.now());
  if (age < LEFTOVER_MS) return;
  try {
    if (/\.lock(?:\.dead-[0-9a-f]+)?$/.test(path)) return removeIfGone(path, shelf.files.mark);
    const record = path.replace(/\.jsonl\..*$/, SUFFIX);
    await shelf.exclusive(record, () => {
      if (path.endsWith('.tmp')) rmSync(path, { force: true });
      else shelf.leases.clear(record, shelf.now());
    });
    shelf.dismiss(record);
  } catch (error) {
    shelf.logger.warn(error, `${path} is left over, and could not be removed`);
  }
}

function keyOf(shelf: RecordShelf, path: string, space: string): RecordKey | undefined {
  const [, ...parts] = path.slice(shelf.root.length + 1, -SUFFIX.length).split('/');
  try {
    const texts = parts.map(textOfFileName);
    if (!texts.includes(undefined)) {
      // `Ada.jsonl` is how nobody's file is called: what is listed could not be read, what is swept may be precious.
      if (texts.some((text, index) => fileName(text as string) !== parts[index])) throw new URIError(path);
      const [id, ...scope] = [texts.pop() as string, ...(texts as string[])];
      return { space, scope, id };
    }
    // A name that is a hash says nothing: the first line of the file does.
    const header = lookAt(shelf, path)?.header;
    return header && { space, scope: header.scope ?? [], id: header.id };
  } catch (error) {
    if (!(error instanceof URIError) && !isMissing(error)) throw error;
    shelf.logger.warn(`${path} is no file of ours, and is left out`);
    return undefined;
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
