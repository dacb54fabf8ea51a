import { AgentUpError, isAgentUpError } from '../../errors.js';
import type { Logger } from '../../logger.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { reportError } from '../report-error.js';
import type { Terminal } from '../terminal.js';
import { countText } from './texts.js';

/** Notes of which files a storage reports that they cannot be read, whole or in part: its lists go on without. */
export function noting(files: Set<string>, logger: Logger): Logger {
  return {
    ...logger,
    error: (...args) => {
      const [about] = args;
      if (isAgentUpError(about, 'RECORD_CORRUPT') && about.details.file !== undefined) files.add(about.details.file);
      logger.error(...args);
    },
  };
}

/** How a command ends that was to take in everything. `done`: what could not be done with the files. */
export function endWithout(files: ReadonlySet<string>, done: string, terminal: Terminal): ExitCode {
  if (files.size === 0) return EXIT.done;
  const what = `${countText(files.size, 'record')} could not be read and ${done}`;
  const fix = 'mend the files, or remove them with `agentup state clear`, and do it again';
  reportError(new AgentUpError('RECORD_CORRUPT', `${what}: ${[...files].join(', ')}`, { fix }), terminal);
  return EXIT.failed;
}
