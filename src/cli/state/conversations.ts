import { AgentUpError } from '../../errors.js';
import type { RecordKey } from '../../storage/keys.js';
import type { ListQuery, RecordInfo, StateStorage } from '../../storage/state-storage.js';

/** The spaces that conversations lie in, by the scope of their handlers. */
export const CONVERSATION_SPACES = ['contexts', 'users', 'sessions'] as const;

/** Which conversations are meant. */
export interface ConversationFlags {
  readonly user?: string;
  /** `''`: of none. */
  readonly tenant?: string;
}

/** A conversation by what its users call it. */
export interface ConversationName {
  readonly contextId: string;
  readonly kind: 'conversation' | 'user' | 'session';
  readonly tenantId: string | undefined;
  /** Whose session it is; its owner otherwise. */
  readonly userId: string | undefined;
}

const KINDS = { contexts: 'conversation', users: 'user', sessions: 'session' } as const;

/** What a record of a conversation is called. */
export function nameOf({ space, scope, id }: RecordKey, owner: string | undefined): ConversationName {
  const kind = KINDS[space as keyof typeof KINDS];
  const isSession = kind === 'session';
  const tenantId = scope.length > (isSession ? 1 : 0) ? scope[0] : undefined;
  return {
    contextId: id,
    kind,
    tenantId,
    userId: isSession ? scope.at(-1) : (owner ?? (kind === 'user' ? id : undefined)),
  };
}

/** All conversations, of every scope and tenant, or those that are asked for. */
export async function* conversationsOf(
  storage: StateStorage,
  { user, tenant }: ConversationFlags,
  query: Pick<ListQuery, 'updatedBefore' | 'prefix'> = {},
): AsyncGenerator<{ readonly info: RecordInfo; readonly name: ConversationName }> {
  for (const space of CONVERSATION_SPACES) {
    // An index by owner finds those of contexts; whose the others are stands in their names as well.
    const owner = user !== undefined && space === 'contexts' ? { owner: user } : {};
    for await (const info of storage.list({ space, ...owner, ...query })) {
      const name = nameOf(info.key, info.owner);
      if (user !== undefined && name.userId !== user) continue;
      if (tenant !== undefined && (name.tenantId ?? '') !== tenant) continue;
      yield { info, name };
    }
  }
}

/** The conversation of this id. @throws CONTEXT_NOT_FOUND; USAGE where there are several, naming the flags that choose */
export async function findConversation(
  storage: StateStorage,
  contextId: string,
  flags: ConversationFlags,
): Promise<{ readonly info: RecordInfo; readonly name: ConversationName }> {
  const found: { info: RecordInfo; name: ConversationName }[] = [];
  for await (const one of conversationsOf(storage, flags, { prefix: contextId })) {
    if (one.name.contextId === contextId) found.push(one);
  }
  const [only] = found;
  if (only && found.length === 1) return only;
  if (!only) {
    throw new AgentUpError('CONTEXT_NOT_FOUND', `there is no conversation ${JSON.stringify(contextId)}`, {
      contextId,
      fix: 'see `agentup state list`',
    });
  }
  const which = found.map(({ name }) => `${name.kind} (tenant ${name.tenantId ?? '-'}, user ${name.userId ?? '-'})`);
  throw new AgentUpError(
    'USAGE',
    `${found.length} conversations are called ${JSON.stringify(contextId)}: ${which.join('; ')}`,
    {
      contextId,
      fix: 'choose with --tenant and --user',
    },
  );
}
