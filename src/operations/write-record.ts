import type { Change, CommitCondition, StateStorage } from '../storage/state-storage.js';
import { RecordDigest, type WholeRecord } from './whole-record.js';

/** The time of the last write that a record carries until all of it is there: no record of a source has it. */
export const UNFINISHED = 0;

/**
 * Writes a record in the place of whatever is there, with its owner, its times, its life, the positions of its log and
 * its kept replies, as far as they are known. A long log goes page by page; until the last is written the record carries a time by which a later run knows.
 * @param version what is written over, 0: nothing is there
 * @returns the digest of what was written; `undefined` where somebody else wrote meanwhile, and nothing was
 */
export async function writeWhole(
  target: StateStorage,
  { head, pages }: WholeRecord,
  version: number,
): Promise<RecordDigest | undefined> {
  const { key, createdAt, updatedAt, expiresAt, ownTtl, logDropped } = head;
  let { replies } = head;
  const digest = new RecordDigest(head);
  let changes: Change[] = [
    { op: 'clearFields' },
    { op: 'clearLog' },
    { op: 'owner', owner: head.owner },
    ...[...head.fields].map(([field, value]): Change => ({ op: 'set', field, value })),
  ];
  let condition: CommitCondition | undefined = { version };
  const commit = async (time: number, begins = 0): Promise<boolean> => {
    const carried = { createdAt, updatedAt: time, expiresAt, ownTtl, logDropped: begins, replies };
    const { committed } = await target.commit(key, changes, { carried, ...(condition && { condition }) });
    // Whoever writes to what is half there loses nothing by what follows.
    condition = undefined;
    replies = undefined;
    changes = [];
    return committed;
  };
  // The commit that says where a log begins cannot log.
  if (logDropped > 0 && !(await commit(UNFINISHED, logDropped))) return undefined;
  for await (const page of pages()) {
    if (changes.some(({ op }) => op === 'log') && !(await commit(UNFINISHED))) return undefined;
    digest.log(page);
    changes = [...changes, ...page.map((entry): Change => ({ op: 'log', entry }))];
  }
  return (await commit(updatedAt)) ? digest : undefined;
}
