import { AgentUpError, isAgentUpError } from '../../errors.js';
import type { RecordKey } from '../../storage/keys.js';
import type { StateStorage } from '../../storage/state-storage.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import type { PlaceFlags } from '../place.js';
import { type ConfirmFlags, confirmed } from '../state/confirm.js';
import { type ConversationFlags, type ConversationName, findConversation, nameOf } from '../state/conversations.js';
import { withState } from '../state/open-state.js';
import { countText, shown } from '../state/texts.js';
import type { Terminal } from '../terminal.js';

export interface StateClearOptions extends PlaceFlags, ConversationFlags, ConfirmFlags {
  readonly contextId: string;
}

/** `agentup state clear <contextId>`: removes a conversation, all of it; also one that can no longer be read. */
export async function run(options: StateClearOptions, terminal: Terminal): Promise<ExitCode> {
  return withState(options, terminal, async (storage) => {
    const { key, name, size } = await found(storage, options);
    const what = `${shown(name.contextId)} (user ${shown(name.userId ?? '-')}, ${size})`;
    await confirmed(`Remove the conversation ${what} for good?`, options, terminal);
    const removed = await storage.delete(key);
    if (options.json) terminal.json({ removed, ...name });
    else terminal.result(removed ? `removed ${what}` : 'it was gone already');
    return EXIT.done;
  });
}

interface Found {
  readonly key: RecordKey;
  readonly name: ConversationName;
  readonly size: string;
}

async function found(storage: StateStorage, options: StateClearOptions): Promise<Found> {
  // With a user it is known whose is meant; whose a damaged one is nobody can tell.
  const damaged = options.user === undefined ? await findDamaged(storage, options) : undefined;
  try {
    const { info, name } = await findConversation(storage, options.contextId, options);
    if (damaged) throw several(damaged, name);
    const { total, dropped } = await storage.readLog(info.key, { limit: 0 });
    return { key: info.key, name, size: countText(total - dropped, 'message') };
  } catch (error) {
    if (!isAgentUpError(error, 'CONTEXT_NOT_FOUND')) throw error;
    const key = damaged ?? (await findDamaged(storage, options));
    if (!key) throw error;
    return { key, name: nameOf(key, undefined), size: 'damaged' };
  }
}

function several({ scope, id }: RecordKey, { kind, tenantId, userId }: ConversationName): AgentUpError {
  const which = `one that is damaged (tenant ${scope[0] ?? '-'}); ${kind} (tenant ${tenantId ?? '-'}, user ${userId ?? '-'})`;
  return new AgentUpError('USAGE', `2 conversations are called ${JSON.stringify(id)}: ${which}`, {
    contextId: id,
    fix: "choose with --tenant (--tenant '': of none) or --user",
  });
}

/** No list has a record that cannot be read; it is where a conversation of this name would be. */
async function findDamaged(storage: StateStorage, flags: StateClearOptions): Promise<RecordKey | undefined> {
  const { contextId: id, tenant, user } = flags;
  const scope = tenant === undefined || tenant === '' ? [] : [tenant];
  const keys: RecordKey[] = [
    { space: 'contexts', scope, id },
    { space: 'users', scope, id },
    ...(user === undefined ? [] : [{ space: 'sessions', scope: [...scope, user], id }]),
  ];
  for (const key of keys) {
    try {
      await storage.read(key);
    } catch (error) {
      if (isAgentUpError(error, 'RECORD_CORRUPT')) return key;
      throw error;
    }
  }
  return undefined;
}
