import { relative } from 'node:path';
import { placeOf } from '../agent/place-of.js';
import { EXIT } from './exit-codes.js';
import { reportError } from './report-error.js';
import type { Terminal } from './terminal.js';

/**
 * Code of the user's runs in the command's process, and can end it before the command has done what it was asked.
 * From here on such an end is a failure that says why, whatever status that code has chosen.
 * @returns to be called when the command is done
 */
export function reportUntimelyEnd(terminal: Terminal, json: boolean): () => void {
  const report = (error: unknown): void => {
    const { file, line, column } = placeOf(error, terminal.cwd);
    const at = file === undefined ? undefined : `${relative(terminal.cwd, file)}:${line}:${column}`;
    // On one line, because `chat --json` may have printed others before.
    reportError(error, terminal, { json, oneLine: true, at });
  };
  // Comes only where nothing is left that could go on, not with process.exit().
  let idle = false;
  process.on('beforeExit', () => {
    idle = true;
  });
  const onExit = (code: number): void => {
    // A second signal to a server: that was said before.
    if (code === EXIT.cancelled) return;
    process.exitCode = EXIT.failed;
    report(
      new Error(
        idle
          ? 'the command was not done: the code of a skill waits for a promise that nothing will ever settle'
          : `the command was not done: the code of a skill called process.exit(${code})`,
      ),
    );
  };
  const done = (): void => void process.off('exit', onExit);
  process.on('exit', onExit);
  process.on('uncaughtException', (error) => {
    done();
    report(error);
    process.exit(EXIT.failed);
  });
  return done;
}
