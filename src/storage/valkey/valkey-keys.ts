import { AgentUpError } from '../../errors.js';
import { containerText, decodeName, keyText, type RecordKey } from '../keys.js';

/**
 * Every key name of the Valkey backend is made here.
 *
 * A record's keys share the hash tag `{space/scope/:id}`, so they lie in one cluster slot; the index of a space
 * lies in the slot of `{space}`. A record is named inside its space by its *member*: `/scope/scope/:id`, encoded.
 */
export class ValkeyKeys {
  readonly #prefix: string;

  /** @throws INVALID_ARGUMENT for a prefix that is empty or would take the hash tag's place with an empty one */
  constructor(prefix: unknown) {
    if (typeof prefix !== 'string' || prefix === '') {
      throw new AgentUpError('INVALID_ARGUMENT', 'keyPrefix must be a text of at least one character', {
        argument: 'keyPrefix',
        fix: "write what every key is to begin with, such as keyPrefix: 'my-agent:'",
      });
    }
    if (prefix.indexOf('{}') === prefix.indexOf('{') && prefix.includes('{')) {
      throw new AgentUpError(
        'INVALID_ARGUMENT',
        'keyPrefix begins a hash tag with `{}`, which spreads a record over a cluster',
        {
          argument: 'keyPrefix',
          fix: 'leave the braces out',
        },
      );
    }
    this.#prefix = prefix;
  }

  /** The hash of a record. */
  record(key: RecordKey): string {
    return `${this.#prefix}{${keyText(key)}}`;
  }

  /** The same from a member of the space's index. */
  recordOf(space: string, member: string): string {
    return `${this.#prefix}{${space}${member}}`;
  }

  /** The names of all spaces. */
  get spaces(): string {
    return `${this.#prefix}spaces`;
  }

  /** The index of a space. */
  index(space: string): IndexKeys {
    const base = `${this.#prefix}{${space}}`;
    return {
      names: `${base}:names`,
      times: `${base}:times`,
      due: `${base}:due`,
      owners: `${base}:owners`,
      ownersOf: `${base}:owners-of`,
    };
  }

  /** The members of one container by the time of their last write; of the whole space for the container ``. */
  times(space: string, container: string): string {
    return `${this.#prefix}{${space}}:times${container}`;
  }
}

/** What `lua/index-*.lua` keep of a space. */
export interface IndexKeys {
  /** Members by name. */
  readonly names: string;
  /** Members by the time of their last write. */
  readonly times: string;
  /** Members by the moment their entry is to be looked at again. */
  readonly due: string;
  /** `owner member`. */
  readonly owners: string;
  /** Member → its owners in `owners`. */
  readonly ownersOf: string;
}

/** The log of a record. The scripts derive the same where they are given `record` alone. */
export function logKey(record: string): string {
  return `${record}:log`;
}

/** What came of work with an idempotency key. */
export function repliesKey(record: string): string {
  return `${record}:replies`;
}

/** The lease of a record, and the place of who waits for it. */
export function leaseKey(record: string): string {
  return `${record}:lease`;
}

/** The answer of a commit that was given an id. */
export function doneKey(record: string, commitId: string): string {
  return `${record}:done:${commitId}`;
}

/** The name of a record inside its space. */
export function memberOf(key: RecordKey): string {
  return keyText(key).slice(key.space.length);
}

/** The part of a member that its container gives: `` or `/scope/scope`. */
export function containerOf(key: Pick<RecordKey, 'space' | 'scope'>): string {
  return containerText(key).slice(key.space.length);
}

/** The container inside a member. */
export function containerOfMember(member: string): string {
  return member.slice(0, member.lastIndexOf('/:'));
}

/** The key that a member stands for. */
export function keyOfMember(space: string, member: string): RecordKey {
  const end = member.lastIndexOf('/:');
  return {
    space,
    scope: end === 0 ? [] : member.slice(1, end).split('/').map(decodeName),
    id: decodeName(member.slice(end + 2)),
  };
}
