import { constants, fstatSync, futimesSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf, isMissing } from './file-errors.js';
import { makeDirectory } from './make-directory.js';

const APPEND = constants.O_RDWR | constants.O_APPEND;
const CREATE = APPEND | constants.O_CREAT | constants.O_TRUNC;

/** A file has the time of its last line. One that differs by more has been touched by somebody else. */
export const ROUNDING_MS = 0.1;

/** Opens a journal to append to. Reading is enough where writing is not allowed. */
export function openJournal(path: string): number {
  try {
    return openSync(path, APPEND);
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'EACCES' && code !== 'EROFS' && code !== 'EPERM') throw error;
    return openSync(path, constants.O_RDONLY);
  }
}

/** Begins a file that is to become a journal, and the directory it lies in; what a dead process left of one goes. */
export function createJournal(path: string): number {
  try {
    return openSync(path, CREATE, 0o666);
  } catch (error) {
    if (!isMissing(error)) throw error;
    makeDirectory(dirname(path));
    return openSync(path, CREATE, 0o666);
  }
}

/** Appends all of it. */
export function writeAll(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}

/**
 * Gives a file the time of its last line.
 * @param exact the file system keeps milliseconds
 * @returns the time that it has then
 */
export function stamp(file: number, at: number, exact: boolean): number {
  try {
    futimesSync(file, at / 1000, at / 1000);
    if (exact) return at;
  } catch (error) {
    // The file of another user.
    if (codeOf(error) !== 'EPERM') throw error;
  }
  return fstatSync(file).mtimeMs;
}
