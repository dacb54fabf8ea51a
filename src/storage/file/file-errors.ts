import { AgentUpError, messageOf } from '../../errors.js';

/** Where the disk or the system is at fault, not the call: trying later may help. */
const UNAVAILABLE = new Set([
  'ENOSPC',
  'EDQUOT',
  'EIO',
  'EMFILE',
  'ENFILE',
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOTDIR',
  'ENXIO',
  'EBUSY',
  'ELOOP',
  'ENODEV',
  'ESTALE',
]);

/** The typed error for what a file operation failed with. */
export function fileError(error: unknown, file: string): AgentUpError {
  if (error instanceof AgentUpError) return error;
  const { code } = error as NodeJS.ErrnoException;
  const known = code !== undefined && UNAVAILABLE.has(code);
  return new AgentUpError(
    known ? 'STORAGE_UNAVAILABLE' : 'STORAGE_FAILED',
    `the file storage cannot use ${file}: ${messageOf(error)}`,
    { backend: 'file', file, cause: error },
  );
}

/** Is this the error of a file that is not there? */
export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}
