import { closeSync, createWriteStream, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AgentUpError, messageOf } from '../../errors.js';
import { exportRecords } from '../../operations/export-records.js';
import type { ExitCode } from '../exit-codes.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import { CONVERSATION_SPACES } from '../state/conversations.js';
import { interrupted } from '../state/interrupted.js';
import { withState } from '../state/open-state.js';
import { ProgressBar } from '../state/progress-bar.js';
import { countText } from '../state/texts.js';
import { endWithout } from '../state/unreadable.js';
import type { Terminal } from '../terminal.js';

export interface StateExportOptions extends PlaceFlags {
  readonly file?: string;
  readonly conversations?: boolean;
  readonly force?: boolean;
}

/** `agentup state export [file]`: everything as lines of JSON, into a file or to stdout. */
export async function run(options: StateExportOptions, terminal: Terminal): Promise<ExitCode> {
  const file = options.file === undefined || options.file === '-' ? undefined : options.file;
  const spaces = options.conversations ? CONVERSATION_SPACES : undefined;
  return withState(options, terminal, async (storage, unreadable) => {
    const bar = new ProgressBar(terminal);
    let count = 0;
    const onRecord = (records: number): void => {
      count = records;
      bar.show('exported', records, 0);
    };
    const lines = exportRecords(storage, { spaces, onRecord });
    let whole = true;
    if (file === undefined) whole = await toStdout(lines, terminal);
    else await toFile(resolve(workingDirectory(options, terminal), file), lines, options.force === true);
    bar.end();
    if (whole) terminal.note(`exported ${countText(count, 'record')}${file === undefined ? '' : ` to ${file}`}`);
    return endWithout(unreadable, 'taken along whole', terminal);
  });
}

/** Whoever reads us may stop reading (`| head`): that is no error. @returns whether all was taken */
async function toStdout(lines: ReturnType<typeof exportRecords>, terminal: Terminal): Promise<boolean> {
  try {
    await pipeline(lines, terminal.stdout, { end: false });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    return false;
  }
}

/** A file appears under its name when it is whole, and on the disk: an older backup may be thrown away for it. */
async function toFile(path: string, lines: ReturnType<typeof exportRecords>, force: boolean): Promise<void> {
  if (existsSync(path) && !force) {
    throw new AgentUpError('FILE_CONFLICT', `${path} is there already`, {
      file: path,
      fix: 'pass --force to replace it',
    });
  }
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    const stream = createWriteStream(temporary, { mode: 0o600, flags: 'wx', flush: true });
    await pipeline(lines, stream, { signal: interrupted() });
    renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    rmSync(temporary, { force: true });
    if (error instanceof AgentUpError) throw error;
    if (error instanceof Error && error.name === 'AbortError') {
      throw new AgentUpError('CANCELLED', 'the export was interrupted; no file was written');
    }
    throw new AgentUpError('FILE_UNWRITABLE', `${path} cannot be written: ${messageOf(error)}`, {
      file: path,
      cause: error,
    });
  }
}

function syncDirectory(path: string): void {
  // Windows opens no directory.
  if (process.platform === 'win32') return;
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
