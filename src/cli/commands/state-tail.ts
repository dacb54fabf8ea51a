import { setTimeout as delay } from 'node:timers/promises';
import { decodeMessages, type Message } from '../../conversation/message.js';
import { keyText, type RecordKey } from '../../storage/keys.js';
import type { StateStorage } from '../../storage/state-storage.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import type { PlaceFlags } from '../place.js';
import {
  type ConversationFlags,
  type ConversationName,
  conversationsOf,
  findConversation,
} from '../state/conversations.js';
import { interrupted } from '../state/interrupted.js';
import { messageText } from '../state/message-text.js';
import { withState } from '../state/open-state.js';
import { countOf, shown } from '../state/texts.js';
import type { Terminal } from '../terminal.js';

export interface StateTailOptions extends PlaceFlags, ConversationFlags {
  readonly contextId?: string;
  readonly messages?: string;
  readonly every?: string;
  readonly json?: boolean;
}

type Print = (name: ConversationName, messages: readonly Message<unknown>[]) => void;

/** `agentup state tail [contextId]`: what is said from now on, in one conversation or in all, until Ctrl-C. */
export async function run(options: StateTailOptions, terminal: Terminal): Promise<ExitCode> {
  const everyMs = countOf(options.every, '--every', 50) ?? 1_000;
  const first = countOf(options.messages, '--messages') ?? 10;
  return withState(options, terminal, async (storage) => {
    const stop = interrupted();
    const print = printer(options, terminal);
    const follow =
      options.contextId === undefined
        ? await all(storage, options, print)
        : await one(storage, options.contextId, options, first, print);
    if (!options.json) terminal.note('waiting for messages; Ctrl-C ends it');
    while (!stop.aborted) {
      await delay(everyMs, undefined, { signal: stop }).catch(() => {});
      if (!stop.aborted) await follow();
    }
    return EXIT.cancelled;
  });
}

async function one(
  storage: StateStorage,
  contextId: string,
  flags: ConversationFlags,
  first: number,
  print: Print,
): Promise<() => Promise<void>> {
  const { info, name } = await findConversation(storage, contextId, flags);
  const page = await storage.readLog(info.key, { limit: first });
  if (page.entries.length > 0) print(name, decodeMessages(page.entries));
  const log = new LogFollower(storage, info.key, page.total);
  return async () => {
    const messages = await log.next();
    if (messages.length > 0) print(name, messages);
  };
}

/** Reads only the conversations that were written to since it looked last. */
async function all(storage: StateStorage, flags: ConversationFlags, print: Print): Promise<() => Promise<void>> {
  const followers = new Map<string, { readonly log: LogFollower; updatedAt: number }>();
  for await (const { info } of conversationsOf(storage, flags)) {
    const { total } = await storage.readLog(info.key, { limit: 0 });
    followers.set(keyText(info.key), { log: new LogFollower(storage, info.key, total), updatedAt: info.updatedAt });
  }
  return async () => {
    const met = new Set<string>();
    for await (const { info, name } of conversationsOf(storage, flags)) {
      const text = keyText(info.key);
      met.add(text);
      const known = followers.get(text) ?? { log: new LogFollower(storage, info.key, 0), updatedAt: 0 };
      followers.set(text, known);
      if (info.updatedAt < known.updatedAt) continue;
      // Once more in the next round: two writes may share a millisecond.
      known.updatedAt = info.updatedAt;
      const messages = await known.log.next();
      if (messages.length > 0) print(name, messages);
    }
    for (const text of followers.keys()) if (!met.has(text)) followers.delete(text);
  };
}

/** What was added to a log since it was asked last; one that was cleared begins anew. */
class LogFollower {
  readonly #storage: StateStorage;
  readonly #key: RecordKey;
  #at: number;

  constructor(storage: StateStorage, key: RecordKey, at: number) {
    this.#storage = storage;
    this.#key = key;
    this.#at = at;
  }

  async next(): Promise<Message<unknown>[]> {
    const { total } = await this.#storage.readLog(this.#key, { limit: 0 });
    if (total < this.#at) this.#at = 0;
    if (total === this.#at) return [];
    const { entries } = await this.#storage.readLog(this.#key, { before: total, limit: total - this.#at });
    this.#at = total;
    return decodeMessages<unknown>(entries);
  }
}

function printer({ contextId, json }: StateTailOptions, terminal: Terminal): Print {
  let last = contextId;
  return (name, messages) => {
    for (const message of messages) {
      if (json) {
        terminal.jsonLine({ ...name, message });
        continue;
      }
      if (last !== name.contextId) terminal.result(terminal.style.bold(`— ${shown(name.contextId)}`));
      last = name.contextId;
      terminal.result(messageText(message, terminal.style));
    }
  };
}
