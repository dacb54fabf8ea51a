import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import type { Clock } from '../../src/clock.js';
import { ConversationContext, type ConversationContextOptions } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import { FileStorage } from '../../src/storage/file/file-storage.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { CommitOptions, StateStorage } from '../../src/storage/state-storage.js';
import { ValkeyStorage } from '../../src/storage/valkey/valkey-storage.js';
import { valkeyUrl } from '../support/index.js';
import { RecordingStorage } from '../support/recording-storage.js';
import { TestClock } from '../support/test-clock.js';

const storageDir = mkdtempSync(join(tmpdir(), 'agentup-outlive-'));
const keyPrefix = `outlive-${randomBytes(4).toString('hex')}:`;
const opened: StateStorage[] = [];
afterAll(async () => {
  for (const storage of opened) await storage.close();
  rmSync(storageDir, { recursive: true, force: true });
});

const BACKENDS: Record<string, (clock: Clock) => StateStorage> = {
  memory: (clock) => new MemoryStorage({ clock }),
  file: (clock) => new FileStorage({ storageDir, clock }),
};

let contexts = 0;
const id = () => `c${contexts++}`;

/** A context on a storage that writes down its calls, and a turn on it. */
function setup(storage: StateStorage, options: ConversationContextOptions) {
  const recording = new RecordingStorage(storage);
  opened.push(recording);
  const context = new ConversationContext(recording, options);
  const turn = <R>(contextId: string, handle: (inside: ConversationContext) => Promise<R>, messageId?: string) =>
    withState((_task, inside) => handle(inside))({ id: 't', contextId, text: 'hello', messageId }, context);
  /** The calls since the last time; `life`: those that begin the time to live anew. */
  const names = (): string[] =>
    recording.calls.splice(0).map(({ name, args }) => ((args[2] as CommitOptions | undefined)?.expiry ? 'life' : name));
  return { context, turn, names };
}

describe.each(Object.keys(BACKENDS))('a conversation that would end during a turn, on %s', (backend) => {
  const open = (options: ConversationContextOptions = {}) => {
    const clock = new TestClock();
    const storage = (BACKENDS[backend] as (clock: Clock) => StateStorage)(clock);
    return { clock, storage, ...setup(storage, { clock, ttl: 100, ...options }) };
  };

  it('lives on, with all that the handler saw', async () => {
    const { clock, context, turn } = open();
    const contextId = id();
    await context.setVariable(contextId, 'n', 2);
    await context.addToHistory(contextId, 'user', 'before');
    clock.advance(90_000);
    const counted = turn(contextId, async (inside) => {
      clock.advance(14_000);
      return inside.incrementVariable(contextId, 'n');
    });
    expect(await counted).toBe(3);
    expect(await context.getVariable(contextId, 'n')).toBe(3);
    expect(await context.getHistory(contextId)).toHaveLength(1);
    expect(await context.getTtl(contextId)).toBe(100);
  });

  it('lives on as long as its handler runs', async () => {
    const { clock, context, turn, names } = open({ ttl: 1, lease: 0.09 });
    const contextId = id();
    await context.setVariable(contextId, 'n', 2);
    clock.advance(900);
    const counted = turn(contextId, async (inside) => {
      // The lease is renewed by the time of the process, every third of it.
      for (const renewal of ['life', 'commit', 'commit']) {
        names();
        clock.advance(60);
        await expect.poll(names).toContain(renewal);
      }
      expect(names()).not.toContain('life');
      return inside.incrementVariable(contextId, 'n');
    });
    expect(await counted).toBe(3);
    expect(await context.getVariable(contextId, 'n')).toBe(3);
  });

  it('keeps a time to live of its own, and the moment it was last written to, for the turn', async () => {
    const { clock, context, turn } = open();
    const contextId = id();
    await context.setVariable(contextId, 'n', 2);
    await context.setTtl(contextId, 40);
    const before = (await context.getOrCreate(contextId)).updatedAt;
    clock.advance(39_000);
    expect(await turn(contextId, async (inside) => (await inside.getOrCreate(contextId)).updatedAt)).toBe(before);
    expect(await context.getTtl(contextId)).toBe(40);
  });

  it('costs nothing where its end is far, or there is none', async () => {
    const { clock, context, turn, names } = open();
    for (const ttl of [undefined, 'none'] as const) {
      const contextId = id();
      await context.setVariable(contextId, 'n', 2);
      if (ttl) await context.setTtl(contextId, ttl);
      clock.advance(80_000);
      names();
      await turn(contextId, (inside) => inside.incrementVariable(contextId, 'n'));
      expect(names()).toEqual(['begin', 'life']);
    }
  });

  it('does not live on for a message that has been answered', async () => {
    const { clock, context, turn } = open();
    const contextId = id();
    const count = (inside: ConversationContext) => inside.incrementVariable(contextId, 'n');
    await turn(contextId, count, 'm');
    clock.advance(90_000);
    expect(await turn(contextId, count, 'm')).toBe(1);
    expect(await context.getTtl(contextId)).toBe(10);
  });

  it('does not live on for whom it does not belong to', async () => {
    const { clock, context } = open();
    const contextId = id();
    const count = withState((_task, inside) => inside.incrementVariable(contextId, 'n'));
    const by = (userId: string) => count({ id: 't', contextId, text: '', userId }, context);
    await by('ana');
    clock.advance(90_000);
    await expect(by('ben')).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
    expect(await context.getTtl(contextId)).toBe(10);
  });

  it('is begun anew where it was over before it could be kept', async () => {
    const { clock, storage } = open();
    const contextId = id();
    const begin = storage.begin.bind(storage);
    const { context, turn } = setup(storage, { clock, ttl: 100 });
    await context.setVariable(contextId, 'n', 2);
    clock.advance(99_000);
    storage.begin = async (...args) => {
      const begun = await begin(...args);
      clock.advance(2_000);
      return begun;
    };
    expect(await turn(contextId, (inside) => inside.incrementVariable(contextId, 'n'))).toBe(1);
    expect(await context.getVariables(contextId)).toEqual({ n: 1 });
  });
});

describe('a conversation that would end during a turn, on Valkey', () => {
  it('lives on, with all that the handler saw', async () => {
    const storage = new ValkeyStorage({ url: valkeyUrl(), keyPrefix });
    const { context, turn } = setup(storage, { ttl: 1, lease: 1.8 });
    const contextId = id();
    await context.setVariable(contextId, 'n', 2);
    await context.addToHistory(contextId, 'user', 'before');
    // The time of the server goes by as it will.
    await delay(600);
    const counted = turn(contextId, async (inside) => {
      await delay(900);
      return inside.incrementVariable(contextId, 'n');
    });
    expect(await counted).toBe(3);
    expect(await context.getVariable(contextId, 'n')).toBe(3);
    expect(await context.getHistory(contextId)).toHaveLength(1);
  });
});
