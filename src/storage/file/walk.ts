import { type Dirent, opendirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isMissing } from './file-errors.js';
import { fileName } from './file-name.js';
import { OWNERS } from './owner-index.js';

/** What the name of a record's file ends in. */
export const SUFFIX = '.jsonl';

/** The directory of a container. */
export function containerPath(root: string, space: string, scope: readonly string[]): string {
  return join(root, space, ...scope.map(fileName));
}

/** The directories of all containers of a space; or of one. */
export function containers(root: string, space: string, scope: readonly string[] | undefined): string[] {
  if (scope) return [containerPath(root, space, scope)];
  const found: string[] = [];
  const visit = (directory: string): void => {
    let entries: Dirent[];
    try {
      entries = readdirSync(directory, { withFileTypes: true });
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    found.push(directory);
    for (const entry of entries) if (entry.isDirectory() && entry.name !== OWNERS) visit(join(directory, entry.name));
  };
  visit(containerPath(root, space, []));
  return found;
}

/** Names of the records' files in a directory, without the suffix; in no order. */
export function* recordNames(directory: string): Generator<string> {
  let open: ReturnType<typeof opendirSync>;
  try {
    open = opendirSync(directory);
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  try {
    for (let entry = open.readSync(); entry; entry = open.readSync()) {
      if (entry.name.endsWith(SUFFIX)) yield entry.name.slice(0, -SUFFIX.length);
    }
  } finally {
    open.closeSync();
  }
}
