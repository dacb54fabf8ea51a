import { isAgentUpError } from '../errors.js';
import type { Logger } from '../logger.js';
import { activeTelemetry, type OperationNote } from '../telemetry.js';
import { ForwardingStorage } from './forwarding-storage.js';
import { containerText, keyText, type RecordKey } from './keys.js';
import type {
  BeginOptions,
  Begun,
  Change,
  CommitOptions,
  Committed,
  ListQuery,
  LogOptions,
  LogPage,
  ReadOptions,
  RecordInfo,
  Refused,
  StateRecord,
  StateStorage,
  SweepQuery,
} from './state-storage.js';

/** What a call came to: its outcome where that is not `ok`, and counts for the log. */
interface Told {
  readonly outcome?: string;
  readonly counts?: string;
}

/**
 * A storage whose calls are seen: as lines on the `debug` level of a logger, with ids and timings, and as spans and
 * metrics where an OpenTelemetry SDK is registered. Values, names of fields and what users wrote are in none of them.
 */
export class ObservedStorage extends ForwardingStorage {
  readonly #logger: Logger | undefined;

  /** @param logger where the lines go; without one there are none */
  constructor(inner: StateStorage, logger?: Logger) {
    super(inner);
    this.#logger = logger;
  }

  override begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
    return this.#observed('begin', key, () => this.inner.begin(key, options), begunTold);
  }

  override read(key: RecordKey, options?: ReadOptions): Promise<StateRecord | undefined> {
    return this.#observed('read', key, () => this.inner.read(key, options), recordTold);
  }

  override readLog(key: RecordKey, options?: LogOptions): Promise<LogPage> {
    return this.#observed('readLog', key, () => this.inner.readLog(key, options), pageTold);
  }

  override commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions): Promise<Committed | Refused> {
    const told = (answer: Committed | Refused): Told => commitTold(changes, answer);
    return this.#observed('commit', key, () => this.inner.commit(key, changes, options), told);
  }

  override delete(key: RecordKey): Promise<boolean> {
    return this.#observed('delete', key, () => this.inner.delete(key), deletedTold);
  }

  override list(query: ListQuery): AsyncIterable<RecordInfo> {
    return this.#logger || activeTelemetry() ? this.#listed(query) : this.inner.list(query);
  }

  override sweep(query: SweepQuery): Promise<number> {
    return this.#observed('sweep', query, () => this.inner.sweep(query), sweptTold);
  }

  /** Nothing is added to a call that nobody looks at, least of all a promise. */
  #observed<T>(
    operation: string,
    where: RecordKey | ListQuery,
    call: () => Promise<T>,
    tell: (answer: T) => Told,
  ): Promise<T> {
    const telemetry = activeTelemetry();
    const logger = this.#logger;
    if (!telemetry && !logger) return call();
    const note: OperationNote = { operation, backend: this.backend, space: where.space };
    const run = async (): Promise<T> => {
      const start = performance.now();
      try {
        const answer = await call();
        const { outcome, counts } = tell(answer);
        note.outcome = outcome;
        if (logger) this.#log(logger, note, where, start, counts);
        return answer;
      } catch (error) {
        note.outcome = isAgentUpError(error) ? error.code : 'STORAGE_FAILED';
        if (logger) this.#log(logger, note, where, start);
        throw error;
      }
    };
    return telemetry ? telemetry.operation(note, run) : run();
  }

  /** Its time is that of whoever asks for the records, too. */
  async *#listed(query: ListQuery): AsyncGenerator<RecordInfo> {
    let found = 0;
    let end: (error?: unknown) => void = () => {};
    const ended = new Promise<void>((resolve, reject) => {
      end = (error) => (error === undefined ? resolve() : reject(error));
    });
    const observed = this.#observed(
      'list',
      query,
      () => ended,
      () => ({ counts: `${found} records` }),
    );
    observed.catch(() => {});
    try {
      for await (const info of this.inner.list(query)) {
        found++;
        yield info;
      }
    } catch (error) {
      end(error);
      throw error;
    } finally {
      end();
      await observed.catch(() => {});
    }
  }

  #log(logger: Logger, note: OperationNote, where: RecordKey | ListQuery, start: number, counts?: string): void {
    const ms = (performance.now() - start).toFixed(2);
    const place = 'id' in where ? keyText(where) : containerText({ scope: [], ...where });
    const more = counts === undefined || counts === '' ? '' : `, ${counts}`;
    // One text: loggers differ in what they do with anything beside it.
    logger.debug(`state ${note.operation} ${place} on ${note.backend}: ${note.outcome ?? 'ok'} in ${ms} ms${more}`);
  }
}

const MISSING: Told = { counts: 'no record' };

function begunTold(begun: Begun): Told {
  return begun.busy ? { outcome: 'busy' } : recordTold(begun.record);
}

function recordTold(record: StateRecord | undefined): Told {
  if (!record) return MISSING;
  const { fields, log, version } = record;
  return { counts: `version ${version}, ${fields.size} fields, ${log.length} entries` };
}

function pageTold({ entries, total }: LogPage): Told {
  return { counts: `${entries.length} of ${total} entries` };
}

function commitTold(changes: readonly Change[], answer: Committed | Refused): Told {
  if (!answer.committed) return { outcome: 'refused' };
  const counts = new Map<string, number>();
  for (const { op } of changes) counts.set(op, (counts.get(op) ?? 0) + 1);
  const told = [`version ${answer.version}`, ...[...counts].map(([op, count]) => `${count} ${op}`)];
  if (answer.begun) told.push('next turn begun');
  return { counts: told.join(', ') };
}

function deletedTold(there: boolean): Told {
  return there ? {} : MISSING;
}

function sweptTold(removed: number): Told {
  return { counts: `${removed} records` };
}
