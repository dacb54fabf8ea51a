import { AgentUpError } from '../errors.js';
import type { Token } from '../json.js';
import type { RecordKey } from '../storage/keys.js';
import type { Change, Expiry, LogOptions, LogPage, StateStorage } from '../storage/state-storage.js';
import type { Access, Attributes, Contents } from './access.js';
import { type CommitSettings, commitOptions } from './commit-settings.js';
import { LIFE } from './life.js';

/** Outside a turn: every operation is one atomic delta on the storage, whoever holds the lease. */
export class DirectAccess implements Access {
  constructor(
    readonly storage: StateStorage,
    readonly key: RecordKey,
    readonly settings: CommitSettings,
  ) {}

  async field(name: string): Promise<Token | undefined> {
    const record = await this.storage.read(this.key, { fields: [name] });
    return record?.fields.get(name);
  }

  async fields(): Promise<ReadonlyMap<string, Token>> {
    return (await this.storage.read(this.key))?.fields ?? new Map();
  }

  async log(options: LogOptions): Promise<LogPage> {
    return this.storage.readLog(this.key, options);
  }

  async attributes(): Promise<Attributes | undefined> {
    const record = await this.storage.read(this.key, { fields: [LIFE] });
    return record && { ...record, life: record.fields.get(LIFE) };
  }

  async contents(log: number): Promise<Contents | undefined> {
    const record = await this.storage.read(this.key, { log });
    return (
      record && {
        attributes: { ...record, life: record.fields.get(LIFE) },
        fields: record.fields,
        log: {
          entries: record.log,
          start: record.logTotal - record.log.length,
          total: record.logTotal,
          dropped: record.logDropped,
        },
      }
    );
  }

  async apply(changes: readonly Change[]): Promise<Map<string, number>> {
    const answer = await this.storage.commit(this.key, changes, commitOptions(this.settings, {}));
    if (!answer.committed) throw new AgentUpError('CONFLICT', 'a commit without a condition was refused');
    return answer.incremented;
  }

  async replace(field: string, expected: Token | undefined, value: Token): Promise<boolean> {
    const condition = { fields: new Map([[field, expected]]) };
    const changes: Change[] = [{ op: 'set', field, value }];
    return (await this.storage.commit(this.key, changes, commitOptions(this.settings, { condition }))).committed;
  }

  async create(owner: string | undefined): Promise<void> {
    const changes: Change[] = owner === undefined ? [{ op: 'touch' }] : [{ op: 'owner', owner }];
    await this.storage.commit(this.key, changes, commitOptions(this.settings, { condition: { exists: false } }));
  }

  async claim(owner: string): Promise<boolean> {
    const options = commitOptions(this.settings, { condition: { owner: null } });
    const answer = await this.storage.commit(this.key, [{ op: 'owner', owner }], options);
    return answer.committed || answer.record?.owner === owner;
  }

  async expire(expiry: Expiry): Promise<boolean> {
    const condition = { exists: true };
    return (await this.storage.commit(this.key, [], commitOptions(this.settings, { condition, expiry }))).committed;
  }

  async erase(): Promise<boolean> {
    return this.storage.delete(this.key);
  }

  async save(): Promise<void> {
    // Nothing waits here: every operation has been written when it returned.
  }
}
