import { type Clock, systemClock } from '../clock.js';
import { type AgentUpError, isAgentUpError, messageOf } from '../errors.js';
import { encode, type Token } from '../json.js';
import { deleteUnchanged } from '../storage/delete-unchanged.js';
import type { RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';
import { EXPORT_VERSION, type ExportLine, exportInvalid, headOfLine } from './export-format.js';
import { linesOf } from './ndjson-lines.js';
import { ChangedMeanwhile, DigestSum, RecordDigest, type RecordHead } from './whole-record.js';
import { writeWhole } from './write-record.js';

export interface ImportOptions {
  /** Check all of it, write nothing. */
  readonly dryRun?: boolean | undefined;
  readonly clock?: Clock | undefined;
  /** Called after each record. */
  readonly onRecord?: ((count: number) => void) | undefined;
  /** Told of each record that is damaged in the storage, with what was said of it. It stays as it is. */
  readonly onDamaged?: ((key: RecordKey, error: AgentUpError) => void) | undefined;
}

export interface ImportReport {
  /** Records in the export. */
  readonly records: number;
  readonly written: number;
  /** Are as new, or newer, in the storage, and were left there. */
  readonly kept: number;
  /** Have expired since. */
  readonly expired: number;
  /** Are damaged in the storage, which keeps them as they are: they were not imported. */
  readonly damaged: number;
  /** Came replies for redelivered messages along? Not where the storage does not `carriesReplies`. */
  readonly replies: boolean;
}

/**
 * Brings what `exportRecords` has written into a storage, with owner, times, life and log positions. What is as new
 * there is left alone, so that an import can be repeated. Each record is checked by its digest before the last of it
 * is written. One that is damaged in the storage is left there, and the others are brought. Memory: a page of one log; of a record that replaces an older one, all of it.
 * @throws EXPORT_INVALID with the line, and what the storage throws
 */
export async function importRecords(
  chunks: AsyncIterable<Uint8Array | string>,
  storage: StateStorage,
  options: ImportOptions = {},
): Promise<ImportReport> {
  return new Import(chunks, storage, options).run();
}

type Fate = 'written' | 'kept' | 'expired' | 'damaged' | 'again';

/** How far the lines of a record have been read. */
interface Read {
  readonly digest: RecordDigest;
  ended: boolean;
}

class Import {
  readonly #lines: AsyncGenerator<string>;
  readonly #storage: StateStorage;
  readonly #options: ImportOptions;
  readonly #sum = new DigestSum();
  #line = 0;

  constructor(chunks: AsyncIterable<Uint8Array | string>, storage: StateStorage, options: ImportOptions) {
    this.#lines = linesOf(chunks);
    this.#storage = storage;
    this.#options = options;
  }

  async run(): Promise<ImportReport> {
    const replies = this.#storage.carriesReplies === true;
    const counts = { records: 0, written: 0, kept: 0, expired: 0, damaged: 0, replies };
    const header = await this.#next();
    if (!header || !('export' in header) || !header.export) throw exportInvalid('this is not an export of agentup', 1);
    const { version } = header.export;
    if (version !== EXPORT_VERSION) {
      throw exportInvalid(`the export has version ${version}, and this agentup reads ${EXPORT_VERSION}`, 1);
    }
    for (;;) {
      const line = await this.#next();
      if (!line) throw exportInvalid('the export ends here, and it is not whole', this.#line);
      if ('done' in line) {
        const { records, sha256 } = line.done ?? {};
        if (records !== counts.records || sha256 !== this.#sum.hex) {
          throw exportInvalid(`${records} records were exported, and others are here`, this.#line);
        }
        if (await this.#next()) throw exportInvalid('something follows the end of the export', this.#line);
        return counts;
      }
      if (!('record' in line)) throw exportInvalid('a record is expected here', this.#line);
      const fate = await this.#record(this.#head(line.record));
      if (fate === 'again') continue;
      counts.records++;
      counts[fate]++;
      this.#options.onRecord?.(counts.records);
    }
  }

  #head(line: Parameters<typeof headOfLine>[0]): RecordHead {
    try {
      return headOfLine(line);
    } catch (error) {
      throw exportInvalid(`this is no record: ${messageOf(error)}`, this.#line, error);
    }
  }

  async #record(head: RecordHead): Promise<Fate> {
    const read = { digest: new RecordDigest(head), ended: false };
    try {
      return await this.#bring(head, read);
    } catch (error) {
      if (!isAgentUpError(error, 'RECORD_CORRUPT')) throw error;
      try {
        if (!read.ended) for await (const _ of this.#pages(head, read));
      } catch (other) {
        if (other instanceof ChangedMeanwhile) return 'again';
        throw other;
      }
      this.#options.onDamaged?.(head.key, error);
      return 'damaged';
    }
  }

  async #bring(head: RecordHead, read: Read): Promise<Fate> {
    const { clock = systemClock, dryRun = false } = this.#options;
    const whole = { head, pages: () => this.#pages(head, read) };
    try {
      const isOver = head.expiresAt !== undefined && head.expiresAt <= clock.now();
      const there = isOver ? undefined : await this.#storage.read(head.key, { fields: [] });
      const isNewer = there !== undefined && there.updatedAt >= head.updatedAt;
      if (dryRun || isOver || isNewer) for await (const _ of whole.pages());
      if (isOver) return 'expired';
      if (isNewer) return 'kept';
      if (dryRun) return 'written';
      // What is there must not be lost to an export that turns out to be damaged.
      const pages = there ? await collected(whole.pages()) : whole.pages;
      if (await writeWhole(this.#storage, { head, pages }, there?.version ?? 0)) return 'written';
      // Somebody has written to it just now. What was not looked at yet is passed over.
      if (!read.ended) for await (const _ of whole.pages());
      return 'kept';
    } catch (error) {
      const changed = error instanceof ChangedMeanwhile;
      // What has been written of it belongs to nobody.
      if ((changed || isAgentUpError(error, 'EXPORT_INVALID')) && !dryRun) await this.#removeUnfinished(head);
      if (changed) return 'again';
      throw error;
    }
  }

  /** The log of a record, or what is left of it, to its `end`, which has to be right. */
  async *#pages(head: RecordHead, read: Read): AsyncGenerator<readonly Token[]> {
    const { digest } = read;
    for (;;) {
      const line = await this.#next();
      if (!line) throw exportInvalid('the export ends here, in the middle of a record', this.#line);
      if ('again' in line) throw new ChangedMeanwhile();
      if ('end' in line) {
        const sha256 = digest.end();
        if (sha256 !== line.end?.sha256) throw exportInvalid(`the record ${head.key.id} is damaged`, this.#line);
        this.#sum.add(sha256);
        read.ended = true;
        return;
      }
      if (!('log' in line) || !Array.isArray(line.log)) throw exportInvalid('a log or an end is expected', this.#line);
      const page = this.#tokens(line.log);
      digest.log(page);
      yield page;
    }
  }

  #tokens(values: readonly unknown[]): Token[] {
    try {
      return values.map(encode);
    } catch (error) {
      throw exportInvalid(`this is no log: ${messageOf(error)}`, this.#line, error);
    }
  }

  async #removeUnfinished({ key }: RecordHead): Promise<void> {
    const there = await this.#storage.read(key, { fields: [] });
    if (there?.updatedAt === 0) await deleteUnchanged(this.#storage, key, there.version);
  }

  async #next(): Promise<ExportLine | undefined> {
    const { value, done } = await this.#lines.next();
    if (done) return undefined;
    this.#line++;
    try {
      const line = JSON.parse(value) as unknown;
      if (typeof line === 'object' && line !== null) return line as ExportLine;
    } catch (error) {
      throw exportInvalid('this is no JSON', this.#line, error);
    }
    throw exportInvalid('this is no line of an export', this.#line);
  }
}

/** Pages that are all there before the first is asked for. */
async function collected(pages: AsyncIterable<readonly Token[]>): Promise<() => AsyncGenerator<readonly Token[]>> {
  const all: (readonly Token[])[] = [];
  for await (const page of pages) all.push(page);
  return async function* () {
    yield* all;
  };
}
