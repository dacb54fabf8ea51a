import { toIso } from '../../clock.js';
import { decodeMessages } from '../../conversation/message.js';
import { decode } from '../../json.js';
import type { StateRecord } from '../../storage/state-storage.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import type { PlaceFlags } from '../place.js';
import { type ConversationFlags, type ConversationName, findConversation } from '../state/conversations.js';
import { messageText } from '../state/message-text.js';
import { withState } from '../state/open-state.js';
import { countOf, countText, shown } from '../state/texts.js';
import type { Terminal } from '../terminal.js';

/** Messages where nobody says how many. */
const USUAL = 50;

export interface StateShowOptions extends PlaceFlags, ConversationFlags {
  readonly contextId: string;
  readonly messages?: string;
  readonly json?: boolean;
}

/** `agentup state show <contextId>`: all of a conversation, its history as a chat. */
export async function run(options: StateShowOptions, terminal: Terminal): Promise<ExitCode> {
  const limit = countOf(options.messages, '--messages') ?? USUAL;
  return withState(options, terminal, async (storage) => {
    const { info, name } = await findConversation(storage, options.contextId, options);
    const record = await storage.read(info.key, { log: limit });
    if (!record) {
      terminal.note('It has gone since it was found.');
      return EXIT.failed;
    }
    if (options.json) terminal.json(plain(name, record, storage.backend));
    else print(name, record, terminal);
    return EXIT.done;
  });
}

function plain(name: ConversationName, record: StateRecord, backend: string): object {
  const { createdAt, updatedAt, expiresAt, logTotal, logDropped } = record;
  return {
    ...name,
    backend,
    createdAt: toIso(createdAt),
    updatedAt: toIso(updatedAt),
    ...(expiresAt !== undefined && { expiresAt: toIso(expiresAt) }),
    variables: Object.fromEntries(entries(record, 'var:')),
    metadata: Object.fromEntries(entries(record, 'meta:')),
    messages: { total: logTotal, dropped: logDropped, newest: decodeMessages<unknown>(record.log) },
  };
}

function print(name: ConversationName, record: StateRecord, terminal: Terminal): void {
  const { bold, cyan, dim } = terminal.style;
  const { createdAt, updatedAt, expiresAt, log, logTotal, logDropped } = record;
  const who = [name.tenantId && `tenant ${name.tenantId}`, name.userId && `user ${name.userId}`].filter(Boolean);
  terminal.result(`${bold(cyan(shown(name.contextId)))}  ${shown([name.kind, ...who].join(' · '))}`);
  const ends = expiresAt === undefined ? 'never expires' : `expires ${toIso(expiresAt)}`;
  terminal.result(dim(`created ${toIso(createdAt)} · written ${toIso(updatedAt)} · ${ends}`));
  for (const [title, prefix] of [
    ['Variables', 'var:'],
    ['Metadata', 'meta:'],
  ] as const) {
    const found = entries(record, prefix);
    if (found.length === 0) continue;
    terminal.result(`\n${bold(title)}`);
    for (const [field, value] of found) terminal.result(`  ${cyan(shown(field))} = ${shown(JSON.stringify(value))}`);
  }
  const kept = logTotal - logDropped;
  terminal.result(
    `\n${bold('Conversation')} ${dim(`${countText(kept, 'message')}${logDropped > 0 ? `, ${logDropped} dropped before` : ''}`)}`,
  );
  if (kept > log.length) terminal.result(dim(`  … ${kept - log.length} older ones: --messages ${kept}`));
  for (const message of decodeMessages<unknown>(log)) terminal.result(messageText(message, terminal.style));
}

function entries({ fields }: StateRecord, prefix: string): [name: string, value: unknown][] {
  return [...fields]
    .filter(([field]) => field.startsWith(prefix))
    .map(([field, token]): [string, unknown] => [field.slice(prefix.length), decode(token)])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}
