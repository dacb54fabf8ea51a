import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { handlerPath, testPath } from './scaffold/skill-files.js';

/** The sentence that names a file which stands where one of a new skill goes, or nothing; `force` replaces files. */
export function fileInTheWay(directory: string, id: string, force: boolean | undefined): string | undefined {
  const path = force ? undefined : [handlerPath(id), testPath(id)].find((name) => existsSync(join(directory, name)));
  return path === undefined ? undefined : `${path} exists already`;
}
