import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import { AgentUpError, messageOf } from '../../errors.js';
import { importRecords } from '../../operations/import-records.js';
import type { RecordKey } from '../../storage/keys.js';
import type { ExitCode } from '../exit-codes.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import { interrupted } from '../state/interrupted.js';
import { withState } from '../state/open-state.js';
import { ProgressBar } from '../state/progress-bar.js';
import { countText } from '../state/texts.js';
import { endWithout } from '../state/unreadable.js';
import type { Terminal } from '../terminal.js';

export interface StateImportOptions extends PlaceFlags {
  readonly file?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `agentup state import [file]`: what an export holds, from a file or stdin; what is as new in the storage stays. */
export async function run(options: StateImportOptions, terminal: Terminal): Promise<ExitCode> {
  const { file, dryRun, json } = options;
  const cwd = workingDirectory(options, terminal);
  return withState(options, terminal, async (storage, unreadable) => {
    const bar = new ProgressBar(terminal);
    const isPiped = file === undefined || file === '-';
    const chunks = isPiped ? untilInterrupted(terminal.stdin) : chunksOf(resolve(cwd, file));
    const onRecord = (records: number): void => bar.show(dryRun ? 'checked' : 'imported', records, 0);
    const damaged = new Set(unreadable);
    const onDamaged = ({ id }: RecordKey, { details }: AgentUpError): void => void damaged.add(details.file ?? id);
    const report = await importRecords(chunks, storage, { dryRun, onRecord, onDamaged }).finally(() => bar.end());
    if (json) terminal.json(report);
    else {
      const { written, kept, expired } = report;
      const rest = `${kept} as new here already, ${expired} expired`;
      terminal.result(`${dryRun ? 'would import' : 'imported'} ${countText(written, 'record')}; ${rest}`);
    }
    return endWithout(damaged, 'replaced', terminal);
  });
}

async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* untilInterrupted(createReadStream(path));
  } catch (error) {
    if (error instanceof AgentUpError) throw error;
    throw new AgentUpError('INVALID_ARGUMENT', `${path} cannot be read: ${messageOf(error)}`, {
      file: path,
      cause: error,
    });
  }
}

async function* untilInterrupted(stream: Readable): AsyncGenerator<Uint8Array> {
  const signal = interrupted();
  try {
    yield* addAbortSignal(signal, stream);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new AgentUpError('CANCELLED', 'the import was interrupted', {
      fix: 'start it again: what has been imported stays, and is not written twice',
    });
  }
}
