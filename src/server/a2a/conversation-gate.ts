import { AgentUpError } from '../../errors.js';
import { failureOf } from '../failure.js';
import type { CallScope } from './caller.js';
import { RefusedError } from './refused-error.js';

interface Line {
  /** Messages that run or wait. */
  count: number;
  /** The message that each task is worked on for. */
  readonly tasks: Map<string, string>;
  /** Fulfilled when the message admitted last waits for its turn, or never will. */
  last: Promise<void> | undefined;
}

interface MessageIds {
  /** Empty where it goes on with none. */
  readonly taskId: string;
  readonly messageId: string;
}

interface Admitted {
  readonly name: string;
  readonly line: Line;
  readonly messageId: string;
  readonly waits: () => void;
  taskId: string;
  entered: boolean;
}

/**
 * Lets in the messages of each conversation in the order they came, and counts those that run or wait, so that one too
 * many is refused before it is stored. A message that goes on with a task has the task loaded and stored on its way
 * to its turn, and would be overtaken there by one that does not. A call names a message: any object of its own.
 */
export class ConversationGate {
  readonly #most: number;
  readonly #lines = new Map<string, Line>();
  readonly #admitted = new WeakMap<object, Admitted>();

  constructor(most: number) {
    this.#most = most;
  }

  /**
   * @throws where as many wait already as may, and where its task is worked on for another message: whoever sent this
   * one would be told the answer to that
   */
  check(scope: CallScope, contextId: string, { taskId, messageId }: MessageIds): void {
    const line = this.#lines.get(nameOf(scope, contextId));
    if (!line) return;
    const isOther = taskId !== '' && (line.tasks.get(taskId) ?? messageId) !== messageId;
    if (isOther || line.count >= this.#most) {
      throw new RefusedError(failureOf(new AgentUpError('CONVERSATION_BUSY', 'too many messages wait')));
    }
  }

  /** Waits until those before are in line for their turns. @throws as `check` does */
  async admit(call: object, scope: CallScope, contextId: string, ids: MessageIds): Promise<void> {
    this.check(scope, contextId, ids);
    const { taskId, messageId } = ids;
    const name = nameOf(scope, contextId);
    const line = this.#lines.get(name) ?? { count: 0, tasks: new Map(), last: undefined };
    const before = line.last;
    line.count++;
    if (taskId !== '') line.tasks.set(taskId, messageId);
    line.last = new Promise((resolve) => {
      this.#admitted.set(call, { name, line, taskId, messageId, waits: resolve, entered: false });
    });
    this.#lines.set(name, line);
    await before;
  }

  /** The message is in line for its turn, on a task that may be new, and is counted until it `leave`s. */
  enter(call: object, taskId: string): void {
    const admitted = this.#admitted.get(call);
    if (!admitted) return;
    admitted.entered = true;
    admitted.taskId = taskId;
    admitted.line.tasks.set(taskId, admitted.messageId);
    admitted.waits();
  }

  /** The message is done with. */
  leave(call: object): void {
    const admitted = this.#admitted.get(call);
    if (!admitted) return;
    this.#admitted.delete(call);
    admitted.waits();
    admitted.line.tasks.delete(admitted.taskId);
    if (--admitted.line.count === 0) this.#lines.delete(admitted.name);
  }

  /** The request is over, and its message may never have come so far as to wait for a turn. */
  leaveUnlessEntered(call: object): void {
    if (!this.#admitted.get(call)?.entered) this.leave(call);
  }
}

function nameOf({ tenantId, userId }: CallScope, contextId: string): string {
  // With their lengths, so that no two of them come to the same.
  return `${tenantId?.length} ${userId?.length} ${tenantId ?? ''}${userId ?? ''}${contextId}`;
}
