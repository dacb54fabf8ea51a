import { expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import type { ConversationContext } from '../../src/conversation/conversation-context.js';
import { onConversationStarted, type StartedEvent } from '../../src/skill/hooks.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { tool } from '../../src/skill/tool.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';

/** A parallel skill whose first beginning hangs, a tool of it, and a serial handler that holds the same conversations. */
function setup() {
  const storage = new MemoryStorage();
  const seen: string[] = [];
  let hangs = true;
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });

  @skill({ id: 'parallel' })
  class Parallel {
    @onConversationStarted()
    async begin(_event: StartedEvent, context: ConversationContext, contextId: string): Promise<void> {
      seen.push('started');
      await context.setVariable(contextId, 'begun', true);
      if (hangs) await new Promise(() => {});
    }

    @stateful({ storage, concurrency: 'parallel' })
    async handle(_task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
      return context.incrementVariable(contextId, 'n');
    }

    @tool({ description: 'Counts' })
    async count(_args: object, context: ConversationContext = injected(), contextId: string = injected()) {
      return context.incrementVariable(contextId, 'n');
    }
  }
  const holder = withState(
    async function hold(_task: Task) {
      seen.push('hold');
      await held;
    },
    { storage },
  );
  const agent = createAgent({ state: { backend: 'memory' } }, { skills: [Parallel, holder] });
  const stopHanging = (): void => {
    hangs = false;
  };
  return { agent, seen, letGo, stopHanging };
}

const ids = { id: 't', contextId: 'c1', text: '' };
const calls = [
  ['a message', { code: 'TURN_CANCELLED', cause: { message: 'enough' } }],
  ['a tool', { code: 'TOOL_FAILED', cause: { message: 'enough' } }],
] as const;

it.each(calls)('%s that is cancelled while the conversation begins before it ends at once', async (what, refused) => {
  const { agent: made, seen, stopHanging, letGo } = setup();
  await using agent = await made;
  const call = (signal?: AbortSignal): Promise<unknown> =>
    what === 'a tool'
      ? agent.tools.call('count', {}, { contextId: 'c1', signal })
      : agent.handle({ ...ids, signal }, { skill: 'parallel' }).then(({ value }) => value);

  const inHook = new AbortController();
  const hanging = call(inHook.signal);
  await expect.poll(() => seen).toEqual(['started']);
  inHook.abort(new Error('enough'));
  await expect(hanging).rejects.toMatchObject(refused);

  const holding = agent.handle(ids, { skill: 'hold' });
  await expect.poll(() => seen).toEqual(['started', 'hold']);
  const inLine = new AbortController();
  const waiting = call(inLine.signal);
  await new Promise((resolve) => setImmediate(resolve));
  inLine.abort(new Error('enough'));
  await expect(waiting).rejects.toMatchObject(refused);
  letGo();
  await holding;
  stopHanging();
  expect(await call()).toBe(1);
  expect(seen).toEqual(['started', 'hold', 'started']);
});
