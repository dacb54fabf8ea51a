import { type Dirent, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isSpace, type RecordKey } from '../keys.js';
import { codeOf, isMissing } from './file-errors.js';
import { fileName } from './file-name.js';

/** What the name of a record's file ends in. */
export const SUFFIX = '.jsonl';

/** The directory of a container. */
export function containerPath(root: string, space: string, scope: readonly string[]): string {
  let path = `${root}/${space}`;
  for (const part of scope) path += `/${fileName(part)}`;
  return path;
}

/** The file of a record. */
export function recordPath(root: string, key: RecordKey): string {
  return `${containerPath(root, key.space, key.scope)}/${fileName(key.id)}${SUFFIX}`;
}

/** The directories of spaces, sorted; none where there is no store yet. */
export function spacesUnder(root: string): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(root, { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
  return entries.flatMap((entry) => (entry.isDirectory() && isSpace(entry.name) ? [entry.name] : [])).sort();
}

/** A directory and all below it, itself first; nothing where it is missing. Hidden ones are ours and left out. */
export function* directoriesUnder(directory: string): Generator<string> {
  let entries: Dirent[];
  try {
    entries = readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (isMissing(error) || codeOf(error) === 'ENOTDIR') return;
    throw error;
  }
  yield directory;
  for (const entry of entries) {
    if (entry.isDirectory() && !entry.name.startsWith('.')) yield* directoriesUnder(join(directory, entry.name));
  }
}

/** Names of the files in a directory, in no order; none where it is missing. */
export function fileNames(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.flatMap((entry) => (entry.isDirectory() ? [] : [entry.name]));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
