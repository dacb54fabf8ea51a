import { createHash } from 'node:crypto';
import { AgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import { keyText, type RecordKey } from '../storage/keys.js';
import type { StateRecord, StateStorage } from '../storage/state-storage.js';

/** Log entries that are held in memory at a time. */
export const LOG_PAGE = 1_000;

/** All of a record but its log. Times are epoch milliseconds. */
export interface RecordHead {
  readonly key: RecordKey;
  readonly owner: string | undefined;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number | undefined;
  readonly ownTtl: number | 'none' | undefined;
  readonly logDropped: number;
  readonly fields: ReadonlyMap<string, Token>;
  /** What is kept for redelivered messages, oldest first; `undefined` where they are not looked at. */
  readonly replies?: ReadonlyMap<string, Token> | undefined;
}

/** A record as it travels: its log comes page by page, oldest first. */
export interface WholeRecord {
  readonly head: RecordHead;
  pages(): AsyncIterable<readonly Token[]>;
}

/** A record was written to while its log was read: to be read again. */
export class ChangedMeanwhile extends Error {}

export interface WholeOptions {
  /** The kept replies too, where the storage can bring them. Default true. */
  readonly replies?: boolean | undefined;
}

/**
 * All of a record, `undefined` where there is none. What fits in one page comes in one step; of a longer log the older
 * pages are read afterwards, and `ChangedMeanwhile` is thrown where they no longer belong to the rest.
 */
export async function readWhole(
  storage: StateStorage,
  key: RecordKey,
  { replies = true }: WholeOptions = {},
): Promise<(WholeRecord & { readonly version: number }) | undefined> {
  const record = await storage.read(key, { log: LOG_PAGE, replies });
  if (!record) return undefined;
  return { head: headOf(key, record), version: record.version, pages: () => pagesOf(storage, key, record) };
}

/** What there is to know of a record beside its log. */
export function headOf(key: RecordKey, record: StateRecord): RecordHead {
  const { owner, createdAt, updatedAt, expiresAt, ownTtl, logDropped, fields, replies } = record;
  return { key, owner, createdAt, updatedAt, expiresAt, ownTtl, logDropped, fields, replies };
}

async function* pagesOf(
  storage: StateStorage,
  key: RecordKey,
  { log, logTotal, logDropped, version }: StateRecord,
): AsyncGenerator<readonly Token[]> {
  const newest = logTotal - log.length;
  for (let at = logDropped; at < newest; ) {
    const end = Math.min(newest, at + LOG_PAGE);
    const page = await storage.readLog(key, { before: end, limit: end - at });
    if (page.start !== at || page.entries.length !== end - at) throw new ChangedMeanwhile();
    yield page.entries;
    at = end;
  }
  if (newest > logDropped && (await storage.read(key, { fields: [] }))?.version !== version)
    throw new ChangedMeanwhile();
  if (log.length > 0) yield log;
}

/** Takes a record in bit by bit and comes to its SHA-256: equal for records that hold the same, in whatever storage. */
export class RecordDigest {
  readonly #hash = createHash('sha256');
  #bytes = 0;
  #entries = 0;

  constructor({ key, owner, createdAt, updatedAt, expiresAt, ownTtl, logDropped, fields, replies }: RecordHead) {
    this.#add(JSON.stringify([keyText(key), owner, createdAt, updatedAt, expiresAt, ownTtl, logDropped]));
    const names = [...fields.keys()].sort();
    for (const name of names) this.#add(`${JSON.stringify(name)}:${fields.get(name)}`);
    for (const [name, token] of replies ?? []) this.#add(`reply ${JSON.stringify(name)}:${token}`);
    for (const [name, token] of [...fields, ...(replies ?? [])]) {
      this.#bytes += Buffer.byteLength(name) + Buffer.byteLength(token);
    }
  }

  log(entries: readonly Token[]): void {
    for (const entry of entries) {
      this.#add(entry);
      this.#bytes += Buffer.byteLength(entry);
    }
    this.#entries += entries.length;
  }

  /** Bytes of fields, replies and log so far. */
  get bytes(): number {
    return this.#bytes;
  }

  get entries(): number {
    return this.#entries;
  }

  /** In hex; nothing can be added any more. */
  end(): string {
    return this.#hash.digest('hex');
  }

  #add(text: string): void {
    this.#hash.update(text).update('\n');
  }
}

/** What a record comes to. */
export interface Measured {
  readonly head: RecordHead;
  readonly version: number;
  readonly digest: string;
  /** Of names, values, kept replies and log entries, as JSON in UTF-8. */
  readonly bytes: number;
  readonly entries: number;
}

/** Reads all of a record and measures it; `undefined` where there is none. @throws CONFLICT where it keeps changing */
export async function measure(
  storage: StateStorage,
  key: RecordKey,
  options?: WholeOptions,
): Promise<Measured | undefined> {
  return untilStill(key, async () => {
    const whole = await readWhole(storage, key, options);
    if (!whole) return undefined;
    const digest = new RecordDigest(whole.head);
    for await (const page of whole.pages()) digest.log(page);
    return {
      head: whole.head,
      version: whole.version,
      bytes: digest.bytes,
      entries: digest.entries,
      digest: digest.end(),
    };
  });
}

/** Does again what met a record that was changing. @throws CONFLICT where that does not end */
export async function untilStill<T>(key: RecordKey, work: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ChangedMeanwhile)) throw error;
      if (tries < 20) continue;
      throw new AgentUpError('CONFLICT', `the record ${key.id} kept changing while it was read`, {
        recordId: key.id,
        space: key.space,
      });
    }
  }
}

/** Adds up digests of records, in whatever order they come. */
export class DigestSum {
  readonly #sum = new Uint8Array(32);

  add(digest: string): void {
    const bytes = Buffer.from(digest, 'hex');
    for (let i = 0; i < 32; i++) this.#sum[i] = (this.#sum[i] ?? 0) ^ (bytes[i] ?? 0);
  }

  get hex(): string {
    return Buffer.from(this.#sum).toString('hex');
  }
}
