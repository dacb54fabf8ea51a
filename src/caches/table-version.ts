import { randomBytes } from 'node:crypto';
import { AgentUpError } from '../errors.js';
import { decode, encode } from '../json.js';
import type { RecordKey } from '../storage/keys.js';
import type { StateRecord, StateStorage } from '../storage/state-storage.js';

const VERSIONS = 'cache-versions';
/** Generations that are swept once more at each bump, for rows that a slow writer put into them after their end. */
const REMEMBERED = 8;

/** One generation of a versioned table. Its rows lie in a scope of their own. */
export interface Generation {
  readonly version: number;
  /** Never again that of another generation, also when the counter was lost. */
  readonly id: string;
}

/**
 * The generations of a versioned table. A number counts them for people; what rows are kept under is random, so that
 * no old row comes back when the counter expires, is deleted or lost.
 */
export class TableVersion {
  readonly #storage: StateStorage;
  readonly #key: RecordKey;

  constructor(storage: StateStorage, tenantId: string, table: string) {
    this.#storage = storage;
    this.#key = { space: VERSIONS, scope: [tenantId], id: table };
  }

  /** The present one; the first, where there is none. */
  async current(): Promise<Generation> {
    for (;;) {
      const known = generationOf(await this.#storage.read(this.#key));
      if (known) return known;
      await this.#storage.commit(this.#key, first(), { condition: { exists: false } });
    }
  }

  /** Begins a new one. @returns it, and those whose rows are void */
  async bump(): Promise<{ readonly generation: Generation; readonly ended: readonly string[] }> {
    for (;;) {
      const before = await this.current();
      const id = newId();
      const record = await this.#storage.read(this.#key);
      const ended = [...endedOf(record), before.id].slice(-REMEMBERED);
      const answer = await this.#storage.commit(
        this.#key,
        [
          { op: 'increment', field: 'version', by: 1 },
          { op: 'set', field: 'id', value: encode(id) },
          { op: 'set', field: 'ended', value: encode(ended) },
        ],
        { condition: { fields: new Map([['id', encode(before.id)]]) } },
      );
      if (answer.committed) return { generation: { version: answer.incremented.get('version') ?? 0, id }, ended };
    }
  }
}

function first() {
  return [
    { op: 'set' as const, field: 'version', value: '1' },
    { op: 'set' as const, field: 'id', value: encode(newId()) },
  ];
}

function newId(): string {
  return randomBytes(9).toString('hex');
}

function generationOf(record: StateRecord | undefined): Generation | undefined {
  const version = record?.fields.get('version');
  const id = record?.fields.get('id');
  if (!record) return undefined;
  if (version === undefined || id === undefined) {
    throw new AgentUpError('RECORD_CORRUPT', 'the version of a table is damaged', { space: VERSIONS });
  }
  return { version: decode<number>(version), id: decode<string>(id) };
}

function endedOf(record: StateRecord | undefined): string[] {
  const ended = record?.fields.get('ended');
  return ended === undefined ? [] : decode<string[]>(ended);
}
