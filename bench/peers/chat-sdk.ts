import { createMemoryState } from '@chat-adapter/state-memory';
import { createRedisState } from '@chat-adapter/state-redis';
import { type Adapter, Chat, ConsoleLogger, Message, parseMarkdown, type StateAdapter, type Thread } from 'chat';
import { MAP_FLOOR, SCRIPTS_FLOOR } from '../floors/names.js';
import type { Left, Opened, Subject } from '../subject.js';
import { BLOB, CHANNEL, NAME, NEWEST, PREFERENCES, SAID } from '../turn-data.js';

interface ThreadState {
  name: string;
  preferences: { theme: string };
  visits: number;
  last?: string;
  channel?: string;
}

/** A platform that sends nothing anywhere; what the routing of a message asks of one. */
const platform = {
  name: 'bench',
  userName: 'bench',
  initialize: async () => {},
  channelIdFromThreadId: (threadId: string) => threadId,
  isDM: () => false,
} as unknown as Adapter;

const threadOf = (id: number): string => `bench:${id}`;
let messageId = 0;

function incoming(id: number): Message {
  const author = { userId: String(id), userName: 'ada', fullName: 'Ada', isBot: false, isMe: false } as const;
  return new Message({
    id: `${process.pid}-${++messageId}`,
    threadId: threadOf(id),
    text: SAID,
    formatted: parseMarkdown(SAID),
    raw: {},
    author,
    metadata: { dateSent: new Date(), edited: false },
    attachments: [],
  });
}

/**
 * Through its routing: duplicates recognized, the thread's lock taken, the handler run. Variables and metadata are
 * the thread's state, messages the history of `bot.history.user`. Messages that meet the lock are queued, and the
 * handler answers the ones it is told it skipped.
 */
async function open(state: StateAdapter, append: (key: string, entries: string[]) => Promise<void>): Promise<Opened> {
  const visits = new Map<string, number>();
  const bot = new Chat<Record<string, Adapter>, ThreadState>({
    userName: 'bench',
    adapters: { bench: platform },
    state,
    logger: 'silent',
    concurrency: { strategy: 'queue', maxQueueSize: 1_000 },
    history: { user: { identity: ({ author }) => author.userId, maxPerUser: false } },
  });
  const turn = async (thread: Thread<ThreadState>, message: Message): Promise<void> => {
    const userKey = message.userKey ?? message.author.userId;
    const recent = await bot.history.user.list({ userKey, limit: NEWEST });
    const before = await thread.state;
    const read = recent.length + (before?.name.length ?? 0) + (before?.preferences.theme.length ?? 0);
    if (read === 0) throw new Error('nothing was read');
    const counted = (before?.visits ?? 0) + 1;
    await thread.setState({ visits: counted, last: BLOB, channel: CHANNEL });
    await bot.history.user.append(thread, { role: 'user', text: message.text }, { userKey });
    await bot.history.user.append(thread, { role: 'assistant', text: SAID }, { userKey });
    visits.set(message.id, counted);
  };
  bot.onSubscribedMessage(async (thread, message, context) => {
    for (const one of [...(context?.skipped ?? []), message]) await turn(thread, one);
  });
  await bot.initialize();
  const look = async (id: number): Promise<Left> => {
    const kept = await state.get<ThreadState>(`thread-state:${threadOf(id)}`);
    return {
      visits: kept?.visits ?? 0,
      messages: (await bot.history.user.list({ userKey: String(id), limit: 1e6 })).length,
    };
  };
  return {
    seed: async (id, count) => {
      const kept: ThreadState = { name: NAME, preferences: PREFERENCES, visits: 0 };
      await state.subscribe(threadOf(id));
      await state.set(`thread-state:${threadOf(id)}`, kept);
      const entry = { id: 'x'.repeat(36), userKey: String(id), role: 'user', text: SAID, platform: 'bench' };
      const line = JSON.stringify({ ...entry, threadId: threadOf(id), timestamp: Date.now() });
      if (count > 0)
        await append(
          `transcripts:user:${id}`,
          Array.from({ length: count }, () => line),
        );
    },
    turn: async (id) => {
      const message = incoming(id);
      await bot.handleIncomingMessage(platform, message.threadId, message);
      const counted = visits.get(message.id) ?? Number.NaN;
      visits.delete(message.id);
      return counted;
    },
    look,
    close: () => bot.shutdown(),
  };
}

const memory: Subject = {
  name: 'Chat SDK, state-memory',
  kind: 'memory',
  floor: MAP_FLOOR,
  async open() {
    const state = createMemoryState();
    return open(state, async (key, entries) => {
      for (const entry of entries) await state.appendToList(key, JSON.parse(entry));
    });
  },
};

const redis: Subject = {
  name: 'Chat SDK, state-redis',
  kind: 'valkey',
  floor: SCRIPTS_FLOOR,
  throughput: true,
  async open({ url }) {
    const state = createRedisState({ url, logger: new ConsoleLogger('silent') });
    return open(state, async (key, entries) => {
      await state.getClient().rPush(`chat-sdk:list:${key}`, entries);
    });
  },
};

export const subjects = [memory, redis];
