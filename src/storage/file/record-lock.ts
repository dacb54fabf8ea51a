import { linkSync, readFileSync, statSync, unlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentUpError } from '../../errors.js';
import { isMissing } from './file-errors.js';
import { type Owner, stateOf } from './process-owner.js';

/** How long a lock of a living process is waited for. */
const PATIENCE_MS = 10_000;
/** A process that we cannot see shows that it lives by touching its owner file at least this often. */
const SILENCE_MS = 10_000;

/**
 * Takes a lock that is held for microseconds: a hard link to this process' owner file, which appears whole or not at
 * all and says who holds it. The lock of a dead process is broken.
 * @throws STORAGE_UNAVAILABLE when somebody alive holds it for 10 s
 */
export async function lock(path: string, ownerFile: string): Promise<void> {
  let began = 0;
  for (let tries = 0; ; tries++) {
    if (tryLock(path, ownerFile)) return;
    if (tries < 3) {
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    began ||= performance.now();
    if (tries % 8 === 4 && breakIfDead(path, ownerFile)) continue;
    if (performance.now() - began > PATIENCE_MS) {
      throw new AgentUpError('STORAGE_UNAVAILABLE', `the lock ${path} is held by another process`, {
        backend: 'file',
        file: path,
      });
    }
    await delay(0.2 + Math.random() * Math.min(tries, 5));
  }
}

/** Releases a lock that this process holds. */
export function unlock(path: string): void {
  unlinkSync(path);
}

function tryLock(path: string, ownerFile: string): boolean {
  try {
    linkSync(ownerFile, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Who holds the lock; `undefined` where nobody does any more. */
function holderOf(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Owner;
  } catch (error) {
    if (isMissing(error)) return undefined;
    // Nothing that a process of ours left whole: nobody can be holding it.
    if (error instanceof SyntaxError) return { nonce: 'damaged', host: '', boot: '', namespace: '', pid: 0, start: '' };
    throw error;
  }
}

function isGone(owner: Owner, path: string): boolean {
  if (owner.nonce === 'damaged') return true;
  const state = stateOf(owner);
  if (state !== 'unknown') return state === 'dead';
  try {
    // A lock is a link to the owner file, so its time is that of the last touch.
    return Date.now() - statSync(path).mtimeMs > SILENCE_MS;
  } catch {
    return false;
  }
}

/**
 * Removes the lock of a dead process. Only who takes the marker for that very process may: two breakers could
 * otherwise remove each other's new lock. The marker is never released, it is swept when its process has gone.
 */
function breakIfDead(path: string, ownerFile: string): boolean {
  const holder = holderOf(path);
  if (!holder || !isGone(holder, path)) return false;
  const marker = `${path}.dead.${holder.nonce}`;
  if (!tryLock(marker, ownerFile)) {
    const breaker = holderOf(marker);
    // It died between taking the marker and removing the lock.
    if (!breaker || !isGone(breaker, marker) || !tryLock(`${marker}.${breaker.nonce}`, ownerFile)) return false;
  }
  if (holderOf(path)?.nonce === holder.nonce) unlinkSync(path);
  return true;
}
