import type { Change, StateStorage } from '../storage/state-storage.js';
import { RecordDigest, type WholeRecord } from './whole-record.js';

/** The time of the last write that a record carries until all of it is there: no record of a source has it. */
const UNFINISHED = 0;

/**
 * Writes a record in the place of whatever is there, with its owner, its times, its life and the positions of its log.
 * A long log goes page by page; until the last is written the record carries a time by which a later run knows.
 * @returns the digest of what was written
 */
export async function writeWhole(target: StateStorage, { head, pages }: WholeRecord): Promise<RecordDigest> {
  const { key, createdAt, updatedAt, expiresAt, ownTtl, logDropped } = head;
  const digest = new RecordDigest(head);
  let changes: Change[] = [
    { op: 'clearFields' },
    { op: 'clearLog' },
    { op: 'owner', owner: head.owner },
    ...[...head.fields].map(([field, value]): Change => ({ op: 'set', field, value })),
  ];
  const commit = async (time: number, begins = 0): Promise<void> => {
    const carried = { createdAt, updatedAt: time, expiresAt, ownTtl, logDropped: begins };
    await target.commit(key, changes, { carried });
    changes = [];
  };
  // The commit that says where a log begins cannot log.
  if (logDropped > 0) await commit(UNFINISHED, logDropped);
  for await (const page of pages()) {
    if (changes.some(({ op }) => op === 'log')) await commit(UNFINISHED);
    digest.log(page);
    changes = [...changes, ...page.map((entry): Change => ({ op: 'log', entry }))];
  }
  await commit(updatedAt);
  return digest;
}
