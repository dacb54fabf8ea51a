import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import {
  access,
  chmod,
  copyFile,
  lstat,
  mkdir,
  readFile,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { AgentUpError, messageOf } from '../errors.js';
import type { PlannedFile } from './scaffold/plan.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What happened to a file, or would happen in a dry run. */
export interface FileOutcome {
  readonly path: string;
  readonly action: 'created' | 'updated' | 'overwritten' | 'unchanged';
}

export interface WriteOptions {
  /** Overwrite files that are there with another content. Default: that is a conflict. */
  readonly force?: boolean | undefined;
  /** Only check and say what would happen. */
  readonly dryRun?: boolean | undefined;
}

interface Step {
  readonly file: PlannedFile;
  /** Where it really is, behind symbolic links. */
  readonly target: string;
  readonly action: FileOutcome['action'];
  readonly mode: number | undefined;
}

/**
 * Writes all files of a plan, or none. Everything is checked before the first write; the texts go to temporary
 * names beside their targets and are renamed together; a failure on the way puts everything back.
 * @throws FILE_CONFLICT naming every file in the way; FILE_UNWRITABLE
 */
export async function writePlan(
  directory: string,
  files: readonly PlannedFile[],
  options: WriteOptions = {},
): Promise<FileOutcome[]> {
  const conflicts: string[] = [];
  const steps: Step[] = [];
  for (const file of files) {
    const step = await examine(directory, file, options);
    if (typeof step === 'string') conflicts.push(step);
    else steps.push(step);
  }
  if (conflicts.length > 0) throw conflict(conflicts);
  const writes = steps.filter(({ action }) => action !== 'unchanged');
  if (!options.dryRun && writes.length > 0) await apply(writes);
  return steps.map(({ file, action }) => ({ path: file.path, action }));
}

/** The error for what is in the way; each entry says what and why. */
export function conflict(
  reasons: readonly string[],
  fix = 'move what is in the way, or pass --force to replace it',
): AgentUpError {
  const all = [...new Set(reasons)];
  const what = all.length === 1 ? `${all[0]}.` : `${all.length} things are in the way:\n  ${all.join('\n  ')}\n`;
  return new AgentUpError('FILE_CONFLICT', `${what.trimEnd()}${all.length === 1 ? ' ' : '\n'}Nothing was written.`, {
    issues: all,
    fix,
  });
}

async function examine(directory: string, file: PlannedFile, { force }: WriteOptions): Promise<Step | string> {
  const path = join(directory, file.path);
  const there = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    if (error.code === 'ENOTDIR') return 'blocked' as const;
    throw unwritable(path, error);
  });
  if (there === 'blocked') return `${await blocker(path, directory)} is a file, and a directory is needed there`;
  if (!there) {
    if (file.replaces !== undefined) return `${file.path} has been removed meanwhile`;
    await checkDirectory(dirname(path));
    return { file, target: path, action: 'created', mode: undefined };
  }
  let target: string;
  try {
    target = await realpath(path);
  } catch {
    return `${file.path} is a symbolic link to nothing`;
  }
  const info = await stat(target);
  if (!info.isFile()) return `${file.path} is not a file`;
  const content = await readFile(target, 'utf8').catch((error: unknown) => {
    throw unwritable(path, error);
  });
  if (content === file.content) return { file, target, action: 'unchanged', mode: undefined };
  if (file.replaces !== undefined ? content !== file.replaces : !force) {
    return file.replaces !== undefined ? `${file.path} has changed meanwhile` : `${file.path} exists already`;
  }
  await checkDirectory(dirname(target));
  const action = file.replaces !== undefined ? 'updated' : 'overwritten';
  return { file, target, action, mode: info.mode & 0o7777 };
}

/** The file that stands where a directory of this path should be, as people know it. */
async function blocker(path: string, directory: string): Promise<string> {
  const above = dirname(path);
  const exists = await stat(above).catch(() => undefined);
  if (!exists && above !== path) return blocker(above, directory);
  const shown = relative(directory, above);
  return shown === '' || shown.startsWith('..') ? above : shown;
}

/** The nearest directory that exists must be one, and writable. */
async function checkDirectory(directory: string): Promise<void> {
  try {
    const info = await stat(directory);
    if (!info.isDirectory()) throw Object.assign(new Error('it is not a directory'), { code: 'ENOTDIR' });
    await access(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    const parent = dirname(directory);
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && parent !== directory) return checkDirectory(parent);
    throw unwritable(directory, error);
  }
}

async function apply(steps: readonly Step[]): Promise<void> {
  const undo: (() => Promise<unknown>)[] = [];
  const temps: string[] = [];
  const backups: string[] = [];
  // Ctrl-C waits for these few milliseconds, or it would leave half a plan.
  const hold = (): void => {};
  for (const signal of SIGNALS) process.on(signal, hold);
  let at = '';
  try {
    const staged: { step: Step; temp: string; backup: string | undefined }[] = [];
    for (const step of steps) {
      const { file, target, mode } = step;
      at = target;
      await makeDirectory(dirname(target), undo);
      const temp = beside(target);
      temps.push(temp);
      await writeFile(temp, file.content, { flag: 'wx', flush: true });
      if (mode !== undefined) await chmod(temp, mode);
      const backup = mode === undefined ? undefined : beside(target);
      if (backup !== undefined) {
        backups.push(backup);
        await copyFile(target, backup, constants.COPYFILE_EXCL);
      }
      staged.push({ step, temp, backup });
    }
    for (const { step, temp, backup } of staged) {
      const { file, target } = step;
      at = target;
      if (file.replaces !== undefined && (await readFile(target, 'utf8')) !== file.replaces) {
        throw conflict([`${file.path} has changed meanwhile`]);
      }
      await rename(temp, target);
      undo.unshift(() => (backup === undefined ? rm(target, { force: true }) : rename(backup, target)));
    }
  } catch (error) {
    for (const temp of temps) await rm(temp, { force: true }).catch(() => {});
    for (const revert of undo) await revert().catch(() => {});
    throw error instanceof AgentUpError ? error : unwritable(at, error);
  } finally {
    for (const backup of backups) await rm(backup, { force: true }).catch(() => {});
    for (const signal of SIGNALS) process.off(signal, hold);
  }
}

function beside(target: string): string {
  return join(dirname(target), `.${basename(target)}.${randomUUID().slice(0, 8)}.tmp`);
}

/** One directory at a time: Node's own recursive `mkdir` spins for ever on file systems that take no directories. */
async function makeDirectory(path: string, undo: (() => Promise<unknown>)[]): Promise<void> {
  const make = async (): Promise<void> => {
    await mkdir(path);
    undo.unshift(() => rmdir(path));
  };
  try {
    await make();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeDirectory(dirname(path), undo);
    await make();
  }
}

function unwritable(path: string, cause: unknown): AgentUpError {
  return new AgentUpError('FILE_UNWRITABLE', `${path} cannot be written: ${messageOf(cause)}. Nothing was written.`, {
    file: path,
    cause,
  });
}
