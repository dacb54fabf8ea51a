import { toIso } from '../../clock.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import type { PlaceFlags } from '../place.js';
import { type ConversationFlags, conversationsOf } from '../state/conversations.js';
import { withState } from '../state/open-state.js';
import { ageText, countOf, countText, durationOf, shown } from '../state/texts.js';
import { table } from '../table.js';
import type { Terminal } from '../terminal.js';

/** Rows where nobody says how many. */
const USUAL = 100;

export interface StateListOptions extends PlaceFlags, ConversationFlags {
  readonly olderThan?: string;
  readonly limit?: string;
  readonly json?: boolean;
}

/** `agentup state list`: the conversations that are kept, from the index, with user, age and backend. */
export async function run(options: StateListOptions, terminal: Terminal): Promise<ExitCode> {
  const { user, tenant, olderThan, json } = options;
  const now = Date.now();
  const query = olderThan === undefined ? {} : { updatedBefore: now - durationOf(olderThan, '--older-than') };
  const limit = countOf(options.limit, '--limit', 1) ?? USUAL;
  const flags = { ...(user !== undefined && { user }), ...(tenant !== undefined && { tenant }) };
  return withState(options, terminal, async (storage) => {
    const found: Listed[] = [];
    let more = false;
    for await (const { info, name } of conversationsOf(storage, flags, query)) {
      if (found.length === limit) {
        more = true;
        break;
      }
      const { createdAt, updatedAt, expiresAt } = info;
      found.push({
        ...name,
        createdAt: toIso(createdAt),
        updatedAt: toIso(updatedAt),
        expiresAt: expiresAt === undefined ? undefined : toIso(expiresAt),
        age: now - updatedAt,
      });
    }
    if (json) terminal.json({ backend: storage.backend, conversations: found.map(({ age: _, ...one }) => one), more });
    else print(found, more, storage.backend, terminal);
    return EXIT.done;
  });
}

interface Listed {
  readonly contextId: string;
  readonly kind: string;
  readonly tenantId: string | undefined;
  readonly userId: string | undefined;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly expiresAt: string | undefined;
  /** Milliseconds since the last write. */
  readonly age: number;
}

function print(found: readonly Listed[], more: boolean, backend: string, terminal: Terminal): void {
  const { bold, cyan, dim } = terminal.style;
  if (found.length === 0) {
    terminal.note('There are no such conversations.');
    return;
  }
  const rows = found.map(({ contextId, kind, tenantId, userId, age, expiresAt }) => [
    cyan(shown(contextId)),
    userId === undefined ? dim('-') : shown(userId),
    tenantId === undefined ? dim('-') : shown(tenantId),
    kind,
    ageText(age),
    expiresAt ?? dim('never'),
    backend,
  ]);
  const head = ['CONVERSATION', 'USER', 'TENANT', 'SCOPE', 'LAST WRITTEN', 'EXPIRES', 'BACKEND'].map(bold);
  terminal.result(table([head, ...rows]));
  terminal.note(more ? `the first ${found.length}; --limit shows more` : countText(found.length, 'conversation'));
}
