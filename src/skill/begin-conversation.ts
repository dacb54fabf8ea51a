import type { ConversationContext } from '../conversation/conversation-context.js';
import { runTurn } from '../conversation/run-turn.js';
import type { Hooks } from './hooks.js';
import { permit } from './invoke-stateful.js';
import { enter, idsOf, meetsOver, reportError } from './lifecycle.js';

/**
 * Begins a conversation without a message, in a turn of its own: makes it for the user of the context, notes the
 * metadata, and runs the hooks of the skills given. What is there already stays as it is.
 * @returns whether it was not there before
 * @throws CONTEXT_FORBIDDEN, what a hook threw
 */
export async function beginConversation(
  context: ConversationContext,
  contextId: string,
  { skills, metadata }: { skills: readonly Hooks[]; metadata: Readonly<Record<string, unknown>> | undefined },
): Promise<boolean> {
  const { storage, logger } = context;
  const owner = context.scope.userId;
  const settings = { ...context.settings, concurrency: 'serial' as const };
  const event = metadata === undefined ? {} : { metadata };
  let running: Hooks | undefined;
  try {
    const { result } = await runTurn(
      { storage, key: context.keyOf(contextId), settings, logger, owner },
      async (turn) => {
        const inside = context.inTurn(turn, contextId, false);
        const isNew = meetsOver(turn, context) || turn.attributes() === undefined;
        if (!isNew) permit(turn, contextId, owner);
        // Ends what is over, also where no skill wants to know of the beginning.
        await enter({ turn, context: inside, contextId, hooks: undefined, event });
        if (isNew) {
          await turn.create(owner);
          for (const [name, value] of Object.entries(metadata ?? {})) await inside.setMetadata(contextId, name, value);
        }
        for (const hooks of skills) {
          running = hooks;
          await enter({ turn, context: inside, contextId, hooks, event });
        }
        running = undefined;
        return isNew;
      },
    );
    return result;
  } catch (error) {
    await reportError(running, { ...idsOf(context, contextId), phase: 'started', error }, context);
    throw error;
  }
}
