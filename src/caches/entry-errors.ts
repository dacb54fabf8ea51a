import { AgentUpError, isAgentUpError } from '../errors.js';
import type { EntryKey } from './cache-keys.js';

/** The errors of one entry, which name it as its user does. */
export class EntryErrors {
  readonly #key: EntryKey;

  constructor(key: EntryKey) {
    this.#key = key;
  }

  /** An error of what lies below, with the entry it is about, and the field by the name that its user gave it. */
  of(error: unknown, field?: string): unknown {
    if (!isAgentUpError(error)) return error;
    const inner = field ?? error.details.field;
    const where = inner === undefined ? this.#key.shown : `${this.#key.shown} ${inner}`;
    return new AgentUpError(error.code, `${where}: ${error.message}`, {
      ...error.details,
      ...(inner !== undefined && { field: inner }),
      cause: error,
    });
  }

  wrongType(field: string | undefined, wanted: string): AgentUpError {
    return new AgentUpError('WRONG_TYPE', `${this.#key.shown}${field ? ` ${field}` : ''} does not hold ${wanted}`, {
      recordId: this.#key.record.id,
      ...(field !== undefined && { field }),
    });
  }

  invalid(argument: string, message: string): AgentUpError {
    return new AgentUpError('INVALID_ARGUMENT', `${this.#key.shown}: ${message}`, { argument });
  }

  conflict(what: string): AgentUpError {
    return new AgentUpError('CONFLICT', `${this.#key.shown} ${what}`, { recordId: this.#key.record.id });
  }
}
