import { AgentUpError, messageOf } from '../../errors.js';

/** Where the disk or the system is at fault, not the call: trying later may help. Each with what to do about it. */
const UNAVAILABLE = new Map<string, string | undefined>([
  ['ENOSPC', 'free some space on the disk'],
  ['EDQUOT', 'free some space, or raise the quota'],
  ['EIO', 'check the disk'],
  ['EMFILE', 'raise the limit of open files of this process'],
  ['ENFILE', 'raise the limit of open files of this machine'],
  ['EACCES', 'let this user write to the storage directory'],
  ['EPERM', 'let this user write to the storage directory'],
  ['EROFS', 'use a directory that can be written to'],
  ['ENOTDIR', 'use a path of which every part is a directory'],
  ['ENOENT', 'use a directory that can be made'],
  ['ENXIO', undefined],
  ['ENODEV', undefined],
  ['EBUSY', undefined],
  ['ELOOP', undefined],
  ['ESTALE', undefined],
]);

/** The typed error for what a file operation failed with. */
export function fileError(error: unknown, file: string): AgentUpError {
  if (error instanceof AgentUpError) return error;
  const code = codeOf(error);
  const known = code !== undefined && UNAVAILABLE.has(code);
  const fix = known ? UNAVAILABLE.get(code) : undefined;
  return new AgentUpError(
    known ? 'STORAGE_UNAVAILABLE' : 'STORAGE_FAILED',
    `the file storage cannot use ${file}: ${messageOf(error)}`,
    { backend: 'file', file, cause: error, ...(fix !== undefined && { fix }) },
  );
}

/** The system's name of an error: `ENOENT`, `EEXIST`, … */
export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** Is this the error of too many open files, of this process or of the machine? */
export function isTooMany(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'EMFILE' || code === 'ENFILE';
}

/** Is this the error of a file that is not there? */
export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}
