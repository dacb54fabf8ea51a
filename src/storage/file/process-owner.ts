import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { isMainThread } from 'node:worker_threads';

/** Who holds a lock or a lease, told so that others can find out whether it still lives. */
export interface Owner {
  /** Of one storage instance: never used again. */
  readonly nonce: string;
  readonly host: string;
  readonly boot: string;
  /** Of the pids: in another container the same pid is another process. */
  readonly namespace: string;
  readonly pid: number;
  /** When the process began, as the system counts; a pid is used again, a pid with its start is not. */
  readonly start: string;
  /** Which of its threads, where it is not the first: that one may end alone. */
  readonly thread?: string;
}

function tryRead(read: () => string): string {
  try {
    return read().trim();
  } catch {
    return '';
  }
}

/** What the system says of a process: its state, and when it began. Both empty where it says nothing. */
function statusOf(pid: number): { state: string; start: string } {
  // The third and the 22nd field; the second is the command in parentheses and may hold anything.
  const stat = tryRead(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', start: fields[19] ?? '' };
}

let here: Omit<Owner, 'nonce'> | undefined;

function thisProcess(): Omit<Owner, 'nonce'> {
  here ??= {
    // Two machines may share a name, and see the same directory.
    host: createHash('sha256')
      .update(`${hostname()} ${tryRead(() => readFileSync('/etc/machine-id', 'utf8'))}`)
      .digest('hex')
      .slice(0, 12),
    boot: tryRead(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')),
    namespace: tryRead(() => readlinkSync('/proc/self/ns/pid')),
    pid: process.pid,
    start: statusOf(process.pid).start,
    ...(isMainThread ? {} : { thread: tryRead(() => basename(readlinkSync('/proc/thread-self'))) }),
  };
  return here;
}

/** This process, with a nonce of its own for each instance. */
export function thisOwner(): Owner {
  return { nonce: randomBytes(9).toString('hex'), ...thisProcess() };
}

/** Has the thread ended, of a process that goes on? */
function hasEnded({ pid, thread }: Owner): boolean {
  return thread !== undefined && thread !== '' && !existsSync(`/proc/${pid}/task/${thread}`);
}

/** `unknown`: on another machine, or in another container, where pids mean something else. */
export function stateOf(owner: Owner): 'alive' | 'dead' | 'unknown' {
  const me = thisProcess();
  if (owner.host !== me.host) return 'unknown';
  if (owner.boot !== me.boot) return 'dead';
  if (owner.namespace !== me.namespace) return 'unknown';
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'dead';
  }
  const { state, start } = statusOf(owner.pid);
  // Killed, and not yet fetched by its parent, which where process 1 is no init may be never.
  if (state === 'Z' || state === 'X') return 'dead';
  // Where /proc cannot be read (hidepid, no descriptor left) nothing is known but that there is such a process.
  if (owner.start === '' || start === '') return 'alive';
  return start !== owner.start || hasEnded(owner) ? 'dead' : 'alive';
}

/** The owner that a file names, or `undefined` where it names none. */
export function parseOwner(text: string): Owner | undefined {
  try {
    const owner = JSON.parse(text) as Owner;
    return typeof owner.nonce === 'string' && Number.isInteger(owner.pid) ? owner : undefined;
  } catch {
    return undefined;
  }
}
