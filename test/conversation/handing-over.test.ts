import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConversationContext, type ConversationContextOptions } from '../../src/conversation/conversation-context.js';
import { AgentUpError } from '../../src/errors.js';
import type { Task } from '../../src/skill/task.js';
import { withState } from '../../src/skill/with-state.js';
import { EncryptedStorage } from '../../src/storage/encryption/encrypted-storage.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { ForwardingStorage } from '../../src/storage/forwarding-storage.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type {
  BeginOptions,
  Begun,
  Change,
  CommitOptions,
  Committed,
  StateStorage,
} from '../../src/storage/state-storage.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import { valkeyUrl } from '../support/index.js';
import { RecordingStorage } from '../support/recording-storage.js';

const storageDir = mkdtempSync(join(tmpdir(), 'agentup-handing-over-'));
const keyPrefix = `handing-over-${randomBytes(4).toString('hex')}:`;
const opened: StateStorage[] = [];
afterAll(async () => {
  for (const storage of opened) await storage.close();
  rmSync(storageDir, { recursive: true, force: true });
});

const BACKENDS: Record<string, () => StateStorage> = {
  memory: () => new MemoryStorage(),
  file: () => new FileStorage({ storageDir }),
  Valkey: () => new ValkeyStorage({ url: valkeyUrl(), keyPrefix }),
  'Valkey, encrypted': () =>
    new EncryptedStorage(new ValkeyStorage({ url: valkeyUrl(), keyPrefix: `${keyPrefix}sealed:` }), {
      key: randomBytes(32).toString('base64'),
    }),
};

function open(backend: string): StateStorage {
  const storage = (BACKENDS[backend] as () => StateStorage)();
  opened.push(storage);
  return storage;
}

let contexts = 0;
const id = () => `c${contexts++}`;
/** A handler on a storage of its own. */
function on<R>(
  storage: StateStorage,
  handle: (task: Task, context: ConversationContext) => Promise<R>,
  options: ConversationContextOptions = {},
): (task: Task) => Promise<R> {
  const handler = withState(handle);
  const context = new ConversationContext(storage, options);
  return (one) => handler(one, context);
}

const task = (contextId: string, messageId?: string) => ({ id: 't', contextId, text: 'hello', messageId });

describe.each(Object.keys(BACKENDS))('turns that wait for one another on %s', (backend) => {
  it('begin in the commit of the one before, one round trip each', async () => {
    const storage = new RecordingStorage(open(backend));
    const contextId = id();
    const handler = on(
      storage,
      async (_task, context) => {
        const said = await context.getHistory(contextId, { limit: 3 });
        const n = await context.incrementVariable(contextId, 'n');
        await context.addToHistory(contextId, 'user', `message ${n}`);
        return said.map(({ content }) => content);
      },
      { history: { load: 3 } },
    );
    const turns = await Promise.all(Array.from({ length: 6 }, () => handler(task(contextId))));
    expect(storage.calls.map(({ name }) => name)).toEqual(['begin', ...Array(6).fill('commit')]);
    expect(turns[1]).toEqual(['message 1']);
    expect(turns[5]).toEqual(['message 3', 'message 4', 'message 5']);
    // The last one has passed its lease on to nobody.
    storage.calls.length = 0;
    await handler(task(contextId));
    expect(storage.calls.map(({ name }) => name)).toEqual(['begin', 'commit']);
  });

  it('answer a redelivery that waits for its message, without running the handler again', async () => {
    const contextId = id();
    const storage = new RecordingStorage(open(backend));
    let runs = 0;
    const handler = on(storage, async (_task, context) => {
      runs++;
      return `reply ${await context.incrementVariable(contextId, 'n')}`;
    });
    const messages = ['a', 'b', 'a', 'b', 'c'];
    const replies = await Promise.all(messages.map((message) => handler(task(contextId, message))));
    expect(replies).toEqual(['reply 1', 'reply 2', 'reply 1', 'reply 2', 'reply 3']);
    expect(runs).toBe(3);
    expect(storage.calls.filter(({ name }) => name === 'begin')).toHaveLength(1);
  });

  it('fail for what is wrong with themselves, not for what is wrong with the next', async () => {
    const storage = open(backend);
    const contextId = id();
    const handle = async (_task: Task, context: ConversationContext) => context.incrementVariable(contextId, 'n');
    const handler = on(storage, handle);
    const wrong = on(storage, handle, { history: { load: 0.5 } });
    // A lone surrogate, as any client can send it.
    const turns = [handler(task(contextId)), handler(task(contextId, '\ud800')), wrong(task(contextId))];
    const results = await Promise.allSettled([...turns, handler(task(contextId))]);
    expect(results.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.code))).toEqual([
      1,
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      2,
    ]);
  });

  it('begin by themselves after one that failed, or cleared the conversation', async () => {
    const contextId = id();
    const storage = open(backend);
    const handler = on(storage, async ({ text }, context) => {
      const n = await context.incrementVariable(contextId, 'n');
      if (text === 'fail') throw new Error('as asked');
      if (text === 'clear') await context.clearContext(contextId);
      return n;
    });
    const texts = ['one', 'fail', 'two', 'clear', 'three', 'four'];
    const results = await Promise.allSettled(texts.map((text) => handler({ ...task(contextId), text })));
    expect(results.map((one) => (one.status === 'fulfilled' ? one.value : 'failed'))).toEqual([
      1,
      'failed',
      2,
      3,
      1,
      2,
    ]);
  });
});

describe.each(['file', 'Valkey'])('a turn that waits while its storage is closed on %s', (backend) => {
  it('does not begin, and leaves no lease behind', async () => {
    const contextId = id();
    const inner = open(backend);
    class Closing extends ForwardingStorage {
      override commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
        const answer = this.inner.commit(key, changes, options);
        // The commit is under way.
        void this.inner.close();
        return answer;
      }
    }
    let runs = 0;
    const handle = async (_task: Task, context: ConversationContext) => {
      runs++;
      return context.incrementVariable(contextId, 'n');
    };
    const handler = on(new Closing(inner), handle);
    const turns = await Promise.allSettled([handler(task(contextId)), handler(task(contextId))]);
    expect(turns).toMatchObject([{ value: 1 }, { reason: { code: 'STORAGE_CLOSED' } }]);
    expect(runs).toBe(1);
    await inner.close();
    // Less than the half a minute after which its lease would end.
    expect(await on(open(backend), handle, { wait: 2 })(task(contextId))).toBe(2);
  });
});

describe.each(['file', 'Valkey', 'Valkey, encrypted'])('turns that wait in two instances on %s', (backend) => {
  it('let the one have its turn before all of the other', async () => {
    const contextId = id();
    const done: string[] = [];
    let begun = (): void => {};
    let refused = (): void => {};
    const first = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const asked = new Promise<void>((resolve) => {
      refused = resolve;
    });
    class Asking extends ForwardingStorage {
      override async begin(key: RecordKey, options: BeginOptions): Promise<Begun> {
        const answer = await this.inner.begin(key, options);
        if (answer.busy) refused();
        return answer;
      }
    }
    const turn = (storage: StateStorage, name: string) =>
      on(storage, async (_task, context) => {
        begun();
        await asked;
        // Long enough for the other to ask again, which it does every few milliseconds.
        await new Promise((resolve) => setTimeout(resolve, 20));
        await context.incrementVariable(contextId, 'n');
        done.push(name);
      })(task(contextId));
    const [here, there] =
      backend === 'Valkey, encrypted' ? sharedEncryption() : ([open(backend), open(backend)] as const);
    const all = Array.from({ length: 15 }, () => turn(here, 'here'));
    await first;
    all.push(turn(new Asking(there), 'there'));
    await Promise.all(all);
    expect(done.indexOf('there')).toBeGreaterThan(0);
    expect(done.indexOf('there')).toBeLessThan(8);
    expect(done).toHaveLength(16);
  });
});

function sharedEncryption(): readonly [StateStorage, StateStorage] {
  const key = randomBytes(32).toString('base64');
  const make = () => {
    const plain = new ValkeyStorage({ url: valkeyUrl(), keyPrefix: `${keyPrefix}shared:` });
    const storage = new EncryptedStorage(plain, { key });
    opened.push(storage);
    return storage;
  };
  return [make(), make()];
}

/** Commits wait until they are let go; the answer of one may be lost. */
class SlowStorage extends ForwardingStorage {
  readonly asked: BeginOptions[] = [];
  /** Commits that were to pass their lease on. */
  passed = 0;
  #held: Promise<void> | undefined;
  #lose = false;

  hold(): () => void {
    let letGo = (): void => {};
    this.#held = new Promise((resolve) => {
      letGo = resolve;
    });
    return letGo;
  }

  loseAnswer(): void {
    this.#lose = true;
  }

  override begin(key: RecordKey, options: BeginOptions) {
    this.asked.push(options);
    return this.inner.begin(key, options);
  }

  override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
    if (options?.lease?.next) this.passed++;
    const held = options?.lease?.next && this.#held;
    const answer = await this.inner.commit(key, changes, options);
    await held;
    if (!this.#lose || changes.length === 0) return answer;
    this.#lose = false;
    throw new AgentUpError('STORAGE_UNAVAILABLE', 'the answer was lost');
  }
}

const count = (_task: Task, context: ConversationContext) => context.incrementVariable('c', 'n');

describe('a turn that was begun by the one before', () => {
  it('and was cancelled while it waited gives its lease back, and its place to the one behind', async () => {
    const storage = new SlowStorage(new MemoryStorage());
    const handler = on(storage, count, { wait: 2 });
    const abort = new AbortController();
    const letGo = storage.hold();
    const first = handler(task('c'));
    const gone = handler({ ...task('c'), signal: abort.signal });
    const third = handler(task('c'));
    // The commit of the first has asked for its lease by then.
    await expect.poll(() => storage.passed).toBe(1);
    abort.abort();
    await expect(gone).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
    letGo();
    expect(await Promise.all([first, third])).toEqual([1, 2]);
    expect(await handler(task('c'))).toBe(3);
  });

  it('and has given up waiting gives its lease back', async () => {
    const storage = new SlowStorage(new MemoryStorage());
    // Less than the half a minute after which the lease of the one that is gone would end.
    const handler = on(storage, count, { wait: 2 });
    const impatient = on(storage, count, { wait: 0.02 });
    const letGo = storage.hold();
    const first = handler(task('c'));
    await expect(impatient(task('c'))).rejects.toMatchObject({ code: 'CONVERSATION_BUSY' });
    letGo();
    expect(await first).toBe(1);
    expect(await handler(task('c'))).toBe(2);
  });

  it('gives it back also where the answer did not tell of it, as after a commit that was sent again', async () => {
    class Silent extends SlowStorage {
      override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
        const { begun: _, ...answer } = (await super.commit(key, changes, options)) as Committed;
        return answer;
      }
    }
    const storage = new Silent(new MemoryStorage());
    const handler = on(storage, count, { wait: 2 });
    const letGo = storage.hold();
    const first = handler(task('c'));
    await expect(on(storage, count, { wait: 0.02 })(task('c'))).rejects.toMatchObject({ code: 'CONVERSATION_BUSY' });
    letGo();
    expect(await first).toBe(1);
    expect(await handler(task('c'))).toBe(2);
  });

  it('hands it over to nobody else who came meanwhile', async () => {
    const storage = new SlowStorage(new MemoryStorage());
    const handler = on(storage, count);
    const impatient = on(storage, count, { wait: 0.02 });
    const letGo = storage.hold();
    const first = handler(task('c'));
    const gone = impatient(task('c'));
    const third = handler(task('c'));
    await expect(gone).rejects.toMatchObject({ code: 'CONVERSATION_BUSY' });
    letGo();
    expect(await Promise.all([first, third])).toEqual([1, 2]);
  });

  it('asks for its lease again where the answer was lost', async () => {
    const storage = new SlowStorage(new MemoryStorage());
    const handler = on(storage, count);
    storage.loseAnswer();
    const turns = await Promise.allSettled([handler(task('c')), handler(task('c'))]);
    expect(turns[0]).toMatchObject({ status: 'rejected', reason: { code: 'STORAGE_UNAVAILABLE' } });
    // The first one's commit was done, all the same.
    expect(turns[1]).toMatchObject({ status: 'fulfilled', value: 2 });
    expect(storage.asked).toHaveLength(2);
  });
});
