import { afterEach, describe, expect, it } from 'vitest';
import type { Agent } from '../../src/agent/agent.js';
import { createAgent } from '../../src/agent/create-agent.js';
import { withState } from '../../src/skill/with-state.js';
import { startValkey, type ValkeyServer } from '../support/index.js';

let server: ValkeyServer | undefined;
let agent: Agent | undefined;

afterEach(async () => {
  await agent?.close();
  await server?.stop();
});

const task = (text: string) => ({ id: 't1', contextId: 'c1', text });

describe('an agent whose Valkey is down', () => {
  it('starts, fails typed within two seconds, and works when the server is there', async () => {
    server = await startValkey();
    const { url, port } = server;
    await server.stop();
    const count = withState(async function count(_task, context, id) {
      return context.incrementVariable(id, 'n');
    });
    agent = await createAgent({ state: { backend: 'valkey', url, key_prefix: 'down:' } }, { skills: [count] });
    const begin = performance.now();
    await expect(agent.handle(task('hi'))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(performance.now() - begin).toBeLessThan(2_500);
    server = await startValkey(['--port', String(port)]);
    expect(await agent.handle(task('hi'))).toMatchObject({ text: '1' });
  });

  it('goes on without memory where the configuration says so, and remembers again when the server is there', async () => {
    server = await startValkey();
    const { url, port } = server;
    await server.stop();
    const count = withState(async function count(_task, context, id) {
      return `${context.degraded} ${await context.incrementVariable(id, 'n')}`;
    });
    const state = { backend: 'valkey', url, key_prefix: 'down:', on_unavailable: 'degrade' } as const;
    agent = await createAgent({ state }, { skills: [count] });
    expect(await agent.handle(task('hi'))).toMatchObject({ text: 'true 1' });
    expect(await agent.handle(task('hi'))).toMatchObject({ text: 'true 1' });
    server = await startValkey(['--port', String(port)]);
    expect(await agent.handle(task('hi'))).toMatchObject({ text: 'false 1' });
    expect(await agent.handle(task('hi'))).toMatchObject({ text: 'false 2' });
  });

  it('fails a turn during which it goes down, keeps nothing of it, and goes on when it is back', async () => {
    server = await startValkey();
    const { url, port } = server;
    let calls = 0;
    const fragile = withState(async function fragile(given, context, id) {
      calls++;
      const n = await context.incrementVariable(id, 'n');
      if (given.text === 'stop') await server?.kill9();
      return n;
    });
    agent = await createAgent({ state: { backend: 'valkey', url, key_prefix: 'down:' } }, { skills: [fragile] });
    const begin = performance.now();
    await expect(agent.handle(task('stop'))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(performance.now() - begin).toBeLessThan(4_000);
    expect(calls).toBe(1);
    server = await startValkey(['--port', String(port)]);
    expect(await agent.handle(task('hi'))).toMatchObject({ text: '1' });
  });
});
