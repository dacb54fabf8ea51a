import { type Clock, systemClock, toIso } from '../clock.js';
import { AgentUpError } from '../errors.js';
import { refuseSealed } from '../json.js';
import type { RecordKey } from '../storage/keys.js';
import type { StateStorage } from '../storage/state-storage.js';
import { EXPORT_VERSION, logLine, recordLine } from './export-format.js';
import { ChangedMeanwhile, DigestSum, RecordDigest, readWhole } from './whole-record.js';

/** Times that a record is read which keeps changing. */
const MAX_TRIES = 20;

export interface ExportOptions {
  /** Only these spaces. Default: all. */
  readonly spaces?: readonly string[] | undefined;
  readonly clock?: Clock | undefined;
  /** Called after each record. */
  readonly onRecord?: ((count: number) => void) | undefined;
}

/**
 * All records of a storage as lines of JSON, each with its end: to keep, to read, to import elsewhere. A record is as
 * it was at one moment; different records may be of different moments while the storage is in use. Leases are not in it,
 * and replies kept for redelivered messages only where the storage `carriesReplies`. Memory: a page of one log.
 */
export async function* exportRecords(storage: StateStorage, options: ExportOptions = {}): AsyncGenerator<string> {
  const { clock = systemClock, onRecord } = options;
  const header = { version: EXPORT_VERSION, at: toIso(clock.now()), backend: storage.backend };
  yield `${JSON.stringify({ export: header })}\n`;
  const sum = new DigestSum();
  let records = 0;
  for (const space of options.spaces ?? (await storage.spaces())) {
    for await (const { key } of storage.list({ space })) {
      const sha256 = yield* linesOfRecord(storage, key);
      if (sha256 === undefined) continue;
      sum.add(sha256);
      records++;
      onRecord?.(records);
    }
  }
  yield `${JSON.stringify({ done: { records, sha256: sum.hex } })}\n`;
}

async function* linesOfRecord(storage: StateStorage, key: RecordKey): AsyncGenerator<string, string | undefined> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const whole = await readWhole(storage, key);
    // Void lines of it may stand above: what follows `again` need not be the same record.
    if (!whole) return undefined;
    whole.head.fields.forEach(refuseSealed);
    whole.head.replies?.forEach(refuseSealed);
    const digest = new RecordDigest(whole.head);
    yield `${recordLine(whole.head)}\n`;
    try {
      for await (const page of whole.pages()) {
        page.forEach(refuseSealed);
        digest.log(page);
        yield `${logLine(page)}\n`;
      }
    } catch (error) {
      if (!(error instanceof ChangedMeanwhile)) throw error;
      yield '{"again":true}\n';
      continue;
    }
    const sha256 = digest.end();
    yield `${JSON.stringify({ end: { sha256 } })}\n`;
    return sha256;
  }
  throw new AgentUpError('CONFLICT', `the record ${key.id} kept changing while it was read`, {
    recordId: key.id,
    space: key.space,
  });
}
