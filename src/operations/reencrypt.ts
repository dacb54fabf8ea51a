import { AgentUpError, isAgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import { type EncryptionOptions, TokenCipher } from '../storage/encryption/index.js';
import { keyText, type RecordKey } from '../storage/keys.js';
import type { Change, StateRecord, StateStorage } from '../storage/state-storage.js';
import { inParallel } from './in-parallel.js';

/** Writes of others to one record that may come between before it is given up. */
const MAX_TRIES = 20;

export interface ReencryptOptions {
  /** Only these spaces. Default: all that the storage holds. */
  readonly spaces?: readonly string[] | undefined;
  /** Open everything and say what would be written, write nothing. */
  readonly dryRun?: boolean | undefined;
  /** Records under way at a time. Default 16. */
  readonly parallel?: number | undefined;
  /** Ends it early, between two records: the same call goes on from there. @throws CANCELLED */
  readonly signal?: AbortSignal | undefined;
  /** Called after each record with how many have been looked at, of how many there were in the beginning. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface ReencryptReport {
  /** Records that were looked at. */
  readonly records: number;
  /** Of them, those that were written anew; in a dry run: that would be. */
  readonly rewritten: number;
  /** Values, messages and kept replies that had been encrypted with an older key, or not at all. */
  readonly values: number;
  /** Kept replies that stay as they are, as their key is not known any more: `REPLY_NOT_KEPT` where one is asked for. */
  readonly lostReplies: number;
}

/**
 * Encrypts with the present key whatever a storage holds in clear, or encrypted with one of the previous keys. Each
 * record is opened whole and replaced in one step where it has not changed meanwhile, so the storage may be in use by
 * those who know the new key; owner, times, expiry and positions of the log stay. What is encrypted with the present
 * key already is left alone: a run that was interrupted is simply started again. Of what was
 * replaced the storage keeps nothing.
 *
 * Replies that are kept for messages which are delivered again are reached where the storage `carriesReplies`. Of one
 * whose key is not known only that its message was handled can be told (`REPLY_NOT_KEPT`); that is no reason to fail.
 * @param storage as it is stored, not an `EncryptedStorage` over it
 * @throws KEY_MISSING, DECRYPTION_FAILED with the record; CANCELLED; CONFLICT where a record keeps changing
 */
export async function reencrypt(
  storage: StateStorage,
  encryption: EncryptionOptions,
  options: ReencryptOptions = {},
): Promise<ReencryptReport> {
  const { dryRun = false, parallel = 16, signal, onProgress } = options;
  const cipher = new TokenCipher({ ...encryption, allowClear: true });
  const spaces = options.spaces ?? (await storage.spaces());
  let total = 0;
  for (const space of spaces) for await (const _ of storage.list({ space })) total++;
  const report = { records: 0, rewritten: 0, values: 0, lostReplies: 0 };
  for (const space of spaces) {
    await inParallel(storage.list({ space }), parallel, async ({ key }) => {
      if (signal?.aborted) throw new AgentUpError('CANCELLED', 'interrupted; the same command goes on from here');
      const { values, lostReplies } = await reencryptRecord(storage, cipher, key, dryRun);
      report.records++;
      report.values += values;
      report.lostReplies += lostReplies;
      if (values > 0) report.rewritten++;
      onProgress?.(report.records, Math.max(total, report.records));
    });
  }
  return report;
}

/** @returns how many values were not encrypted with the present key, and how many replies cannot be opened */
async function reencryptRecord(
  storage: StateStorage,
  cipher: TokenCipher,
  key: RecordKey,
  dryRun: boolean,
): Promise<Pick<ReencryptReport, 'values' | 'lostReplies'>> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const record = await wholeOf(storage, key);
    if (!record) return { values: 0, lostReplies: 0 };
    const { changes, values } = changesOf(cipher, key, record);
    const replies = repliesOf(cipher, key, record);
    const counts = { values: values + replies.values, lostReplies: replies.lost };
    if (dryRun) return counts;
    // Also of what is done: a run before this one may have been killed in between.
    if (counts.values === 0) return scrubbed(storage, key, counts);
    const { createdAt, updatedAt, expiresAt, ownTtl, version, log } = record;
    const answer = await storage.commit(key, changes, {
      condition: { version },
      carried: { createdAt, updatedAt, expiresAt, ownTtl, ...(replies.values > 0 && { replies: replies.all }) },
      logMax: log.length,
    });
    if (answer.committed) return scrubbed(storage, key, counts);
  }
  throw new AgentUpError('CONFLICT', `the record ${key.id} kept changing while it was encrypted`, {
    recordId: key.id,
    space: key.space,
  });
}

/** What is replaced is to be gone, not only out of use. */
async function scrubbed<T>(storage: StateStorage, key: RecordKey, counts: T): Promise<T> {
  await storage.scrub?.(key);
  return counts;
}

/** A record with all of its log, as it was at one moment. */
async function wholeOf(storage: StateStorage, key: RecordKey): Promise<StateRecord | undefined> {
  let record = await storage.read(key, { replies: true });
  for (; record; ) {
    const { logTotal, logDropped, log } = record;
    if (log.length === logTotal - logDropped) return record;
    record = await storage.read(key, { log: logTotal - logDropped, replies: true });
  }
  return undefined;
}

/** The replies as they are to be, oldest first, and how many of them change. */
function repliesOf(
  cipher: TokenCipher,
  key: RecordKey,
  record: StateRecord,
): { all: Map<string, Token>; values: number; lost: number } {
  const text = keyText(key);
  const found = { all: new Map<string, Token>(), values: 0, lost: 0 };
  for (const [name, token] of record.replies ?? []) {
    found.all.set(name, token);
    try {
      const reply = cipher.open(key, text, { reply: name }, token);
      if (cipher.isCurrent(token)) continue;
      found.all.set(name, cipher.seal(text, { reply: name }, reply));
      found.values++;
    } catch (error) {
      if (!isAgentUpError(error, 'KEY_MISSING')) throw error;
      found.lost++;
    }
  }
  return found;
}

function changesOf(cipher: TokenCipher, key: RecordKey, record: StateRecord): { changes: Change[]; values: number } {
  const text = keyText(key);
  const changes: Change[] = [];
  let values = 0;
  for (const [field, token] of record.fields) {
    // Opened also where it is current, so that a run proves that everything can be read.
    const value = cipher.open(key, text, { field }, token);
    if (cipher.isCurrent(token)) continue;
    changes.push({ op: 'set', field, value: cipher.seal(text, { field }, value) });
    values++;
  }
  let older = 0;
  const entries = record.log.map((token): Token => {
    const entry = cipher.open(key, text, 'log', token);
    if (cipher.isCurrent(token)) return token;
    older++;
    return cipher.seal(text, 'log', entry);
  });
  if (older > 0) {
    // A log cannot be changed in place. Entries that a cap had dropped are stood in for, and dropped again by the same
    // commit: so the others keep their positions.
    changes.push({ op: 'clearLog' });
    for (let i = 0; i < record.logDropped; i++) changes.push({ op: 'log', entry: '0' });
    for (const entry of entries) changes.push({ op: 'log', entry });
  }
  return { changes, values: values + older };
}
