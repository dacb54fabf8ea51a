import { Role, type Task, TaskState } from '@a2a-js/sdk';
import type { ServerCallContext } from '@a2a-js/sdk/server';
import { INTERRUPTED } from '../failure.js';
import { agentMessage, partsOf } from './parts.js';

const MESSAGE_ID = 'agentup.messageId';

/** Notes which message a call sends. */
export function noteMessage(context: ServerCallContext, messageId: string): void {
  context.state.set(MESSAGE_ID, messageId);
}

/** Does the call send the message again that the task is about? */
export function resends(context: ServerCallContext, task: Task): boolean {
  const messageId = context.state.get(MESSAGE_ID);
  return (
    messageId !== undefined && task.history.findLast(({ role }) => role === Role.ROLE_USER)?.messageId === messageId
  );
}

/** A task that was at work in a server that is gone, as its caller sees it: failed, and for what reason. */
export function interrupted(task: Task): Task {
  const message = agentMessage(partsOf(INTERRUPTED.text), task.contextId, task.id);
  // The same one each time it is looked at.
  message.messageId = `${task.id} interrupted`;
  return {
    ...task,
    status: { state: TaskState.TASK_STATE_FAILED, message, timestamp: task.status?.timestamp },
    metadata: { ...task.metadata, code: INTERRUPTED.code },
  };
}
