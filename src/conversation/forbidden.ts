import { AgentUpError } from '../errors.js';

/** The error for a conversation of somebody else. Does not say whose. */
export function forbidden(contextId: string, userId: string | undefined): AgentUpError {
  return new AgentUpError(
    'CONTEXT_FORBIDDEN',
    `the conversation ${JSON.stringify(contextId)} belongs to another user`,
    {
      contextId,
      ...(userId !== undefined && { userId }),
    },
  );
}
