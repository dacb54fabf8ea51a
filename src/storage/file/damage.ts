import { constants, copyFileSync } from 'node:fs';
import { AgentUpError } from '../../errors.js';
import type { Logger } from '../../logger.js';
import { codeOf } from './file-errors.js';
import { statOf } from './stat-of.js';

/** Line numbers in a report. */
const SHOWN = 8;

/** Reports the end of a file that was torn off while it was written, before it goes. */
export function reportTorn(path: string, logger: Logger): void {
  const copy = setAside(path);
  logger.warn(`the end of ${path} was torn off while it was written, and is left out; see ${copy}`);
}

/** Reports lines that cannot be read. */
export function reportDamage(path: string, lines: readonly number[], logger: Logger): void {
  const copy = tryToSetAside(path, logger);
  const more = lines.length > SHOWN ? ` and ${lines.length - SHOWN} more` : '';
  const which = lines.slice(0, SHOWN).join(', ') + more;
  logger.error(
    new AgentUpError('RECORD_CORRUPT', `lines ${which} cannot be read`, { file: path, backend: 'file' }),
    `lines ${which} of ${path} cannot be read and are left out; ${copy ? `a copy is at ${copy}` : 'there is no copy'}`,
  );
}

/** The error for a file of which nothing can be read. */
export function unreadable(path: string, logger: Logger): AgentUpError {
  const copy = tryToSetAside(path, logger);
  return new AgentUpError('RECORD_CORRUPT', `no line of ${path} can be read`, {
    file: path,
    backend: 'file',
    line: 1,
    fix: `mend the file or remove it${copy ? `; a copy is at ${copy}` : ''}`,
  });
}

function tryToSetAside(path: string, logger: Logger): string | undefined {
  try {
    return setAside(path);
  } catch (error) {
    logger.error(error, `${path} cannot be copied`);
    return undefined;
  }
}

/** Keeps a copy of a file as it is. Returns its path. */
function setAside(path: string): string {
  const time = new Date(statOf(path)?.mtimeMs ?? Date.now()).toISOString().replaceAll(/[:.]/g, '-');
  const copy = `${path}.corrupt-${time}`;
  try {
    copyFileSync(path, copy, constants.COPYFILE_EXCL);
  } catch (error) {
    // The same damage has been met before.
    if (codeOf(error) !== 'EEXIST') throw error;
  }
  return copy;
}
