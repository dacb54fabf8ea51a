import { AgentUpError } from '../../errors.js';
import { failureOf } from '../failure.js';
import type { CallScope } from './caller.js';
import { RefusedError } from './refused-error.js';

/** Counts the messages of each conversation that run or wait, so that one too many is refused before it is stored. */
export class ConversationGate {
  readonly #most: number;
  readonly #counts = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** @throws where as many wait already as may */
  check(scope: CallScope, contextId: string): void {
    if ((this.#counts.get(nameOf(scope, contextId)) ?? 0) < this.#most) return;
    throw new RefusedError(failureOf(new AgentUpError('CONVERSATION_BUSY', 'too many messages wait')));
  }

  /** @returns called when the message is done with */
  enter(scope: CallScope, contextId: string): () => void {
    const name = nameOf(scope, contextId);
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    return () => {
      const left = (this.#counts.get(name) ?? 1) - 1;
      if (left === 0) this.#counts.delete(name);
      else this.#counts.set(name, left);
    };
  }
}

function nameOf({ tenantId, userId }: CallScope, contextId: string): string {
  // With their lengths, so that no two of them come to the same.
  return `${tenantId?.length} ${userId?.length} ${tenantId ?? ''}${userId ?? ''}${contextId}`;
}
