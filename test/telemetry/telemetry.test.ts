import { execFile } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { context, metrics, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  type DataPoint,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAgent, skill, stateful, withState } from '../../src/index.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import { ObservedStorage } from '../../src/storage/observed-storage.js';
import { openStorage } from '../../src/storage/open-storage.js';
import type { StateStorage } from '../../src/storage/state-storage.js';
import { ConversationSync } from '../../src/sync/conversation-sync.js';
import { activeTelemetry, loadTelemetry } from '../../src/telemetry.js';
import { ConversationRemote } from '../support/conversation-remote.js';

let storage: StateStorage;
beforeEach(async () => {
  storage = await openStorage({ backend: 'memory' });
});
afterEach(() => storage.close());

describe('without an SDK', () => {
  it('a call of the storage is passed on as it is, without a promise of its own', async () => {
    expect(await loadTelemetry()).toBe(true);
    expect(activeTelemetry()).toBeUndefined();
    const answer = Promise.resolve({ busy: false as const, record: undefined });
    const inner = Object.assign(new MemoryStorage(), { begin: () => answer });
    const key = { space: 'contexts', scope: [], id: 'c1' };
    expect(new ObservedStorage(inner).begin(key, { token: 't', leaseMs: 1_000 })).toBe(answer);
  });

  it('everything works where the API is not installed', async () => {
    const refuse = `export const resolve = (name, context, next) => {
      if (name !== '@opentelemetry/api') return next(name, context);
      throw Object.assign(new Error('not here'), { code: 'ERR_MODULE_NOT_FOUND' });
    };`;
    const hook = `data:text/javascript,${encodeURIComponent(refuse)}`;
    const script = `
      import { register } from 'node:module';
      register(${JSON.stringify(hook)});
      const { withState, MemoryStorage } = await import(${JSON.stringify(pathToFileURL('dist/index.js').href)});
      const { openStorage } = await import(${JSON.stringify(pathToFileURL('dist/storage/index.js').href)});
      const storage = await openStorage({ backend: 'memory' });
      const handle = withState((task, context, id) => context.incrementVariable(id, 'n'), { storage });
      console.log(await handle({ id: '1', contextId: 'c', text: '' }), storage instanceof MemoryStorage);
    `;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    expect(stdout.trim()).toBe('1 true');
  });
});

describe('with an SDK', () => {
  const spans = new InMemorySpanExporter();
  const measured = new InMemoryMetricExporter(AggregationTemporality.DELTA);
  const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const meters = new MeterProvider({ readers: [reader] });

  // Registered after the storage module was loaded, as an application may.
  beforeAll(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(tracers);
    metrics.setGlobalMeterProvider(meters);
  });
  beforeEach(async () => {
    await meters.forceFlush();
    measured.reset();
    spans.reset();
  });
  afterAll(async () => {
    trace.disable();
    metrics.disable();
    context.disable();
    await meters.shutdown();
  });

  const named = (name: string) => spans.getFinishedSpans().filter((span) => span.name === name);
  const points = async (name: string) => {
    await meters.forceFlush();
    const all = measured.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    const found = all.filter(({ descriptor }) => descriptor.name === name);
    return found.flatMap(({ dataPoints }) => dataPoints as DataPoint<unknown>[]);
  };
  const task = (id = '1', text = 'hello') => ({ id, contextId: 'ada-in-oslo', text });

  it('a turn is a span over its begin, its commit and what the handler traces', async () => {
    const handle = withState(
      async function remember(given, own, id) {
        await trace.getTracer('mine').startActiveSpan('work', async (span) => {
          await own.setVariable(id, 'name', `Zdenka ${given.text}`);
          span.end();
        });
        return 'done';
      },
      { storage },
    );
    await trace.getTracer('mine').startActiveSpan('request', async (span) => {
      await handle(task());
      span.end();
    });
    const [turn] = named('agentup.turn');
    const [request] = named('request');
    expect(turn?.attributes).toEqual({
      'agentup.handler': 'remember',
      'agentup.backend': 'memory',
      'agentup.outcome': 'committed',
      'agentup.redelivered': false,
    });
    expect(turn?.parentSpanContext?.spanId).toBe(request?.spanContext().spanId);
    for (const name of ['agentup.begin', 'work', 'agentup.commit']) {
      expect(named(name).map(({ parentSpanContext }) => parentSpanContext?.spanId)).toEqual([
        turn?.spanContext().spanId,
      ]);
    }
    expect(named('agentup.commit')[0]?.attributes).toEqual({
      'agentup.operation': 'commit',
      'agentup.backend': 'memory',
      'agentup.space': 'contexts',
      'agentup.outcome': 'ok',
    });
  });

  it('says who answered, and what came of it', async () => {
    class Memory {
      async handle(given: { text: string }, own?: unknown, id?: unknown): Promise<string> {
        void own;
        void id;
        if (given.text === 'fail') throw new Error('Zdenka is here');
        return 'done';
      }
    }
    const descriptor = Object.getOwnPropertyDescriptor(Memory.prototype, 'handle') as PropertyDescriptor;
    Object.defineProperty(Memory.prototype, 'handle', stateful()(Memory.prototype, 'handle', descriptor as never));
    skill({ id: 'memory' })(Memory as never);
    const agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Memory as never] });
    const message = { ...task(), messageId: 'm1' };
    await agent.handle(message);
    await agent.handle(message);
    await expect(agent.handle(task('2', 'fail'))).rejects.toThrow('Zdenka');
    await agent.handle({ ...task('3'), userId: 'ada', messageId: 'm3' });
    await expect(agent.handle({ ...task('4'), userId: 'bob' })).rejects.toMatchObject({ code: 'CONTEXT_FORBIDDEN' });
    await agent.close();
    const outcomes = ['committed', 'redelivered', 'HANDLER_FAILED', 'committed', 'CONTEXT_FORBIDDEN'];
    const turns = named('agentup.turn');
    expect(turns.map(({ attributes }) => attributes['agentup.outcome'])).toEqual(outcomes);
    expect(turns.map(({ attributes }) => attributes['agentup.redelivered'])).toEqual([
      false,
      true,
      false,
      false,
      false,
    ]);
    expect(turns[0]?.attributes).toMatchObject({ 'agentup.skill': 'memory', 'agentup.handler': 'memory.handle' });
    expect(turns[2]?.status).toEqual({ code: SpanStatusCode.ERROR });
    expect(turns[2]?.events).toEqual([]);
    const counts = (await points('agentup.turns')).map(({ attributes, value }) => [
      attributes['agentup.outcome'],
      value,
    ]);
    expect(Object.fromEntries(counts)).toEqual({
      committed: 2,
      redelivered: 1,
      HANDLER_FAILED: 1,
      CONTEXT_FORBIDDEN: 1,
    });
  });

  it('measures turns and calls of the storage in seconds', async () => {
    const handle = withState(() => new Promise<void>((resolve) => setTimeout(resolve, 30)), { storage });
    await handle(task());
    const [turn] = (await points('agentup.turn.duration')) as { value: { sum: number; count: number } }[];
    expect(turn?.value.count).toBe(1);
    expect(turn?.value.sum).toBeGreaterThan(0.025);
    expect(turn?.value.sum).toBeLessThan(5);
    const calls = await points('agentup.storage.duration');
    expect(calls.map(({ attributes }) => attributes['agentup.operation']).sort()).toEqual(['begin', 'commit']);
  });

  it('counts a handler inside of another’s turn once, and failures of the storage by their code', async () => {
    const inner = withState(async (_task, own, id) => own.incrementVariable(id, 'n'), { storage });
    const outer = withState(async (given) => inner(given), { storage });
    await outer(task());
    expect(named('agentup.turn').map(({ attributes }) => attributes['agentup.outcome'])).toEqual([
      'joined',
      'committed',
    ]);
    const total = (await points('agentup.turns')).reduce((sum, { value }) => sum + (value as number), 0);
    expect(total).toBe(1);
    await storage.close();
    await expect(outer(task())).rejects.toMatchObject({ code: 'STORAGE_CLOSED' });
    const [begin] = named('agentup.begin').slice(-1);
    expect([begin?.attributes['agentup.outcome'], begin?.status.code]).toEqual([
      'STORAGE_CLOSED',
      SpanStatusCode.ERROR,
    ]);
  });

  it('tells nobody what was said, by whom, or in which conversation', async () => {
    const handle = withState(
      async (given, own, id) => {
        await own.setVariable(id, 'secret-name', 'Zdenka');
        await own.addToHistory(id, 'user', given.text);
        return 'I know Zdenka';
      },
      { storage },
    );
    await handle({ ...task('1', 'Zdenka says'), userId: 'user-of-oslo', messageId: 'message-of-oslo' });
    for await (const _ of storage.list({ space: 'contexts' }));
    await storage.sweep({ space: 'contexts', updatedBefore: 0 });
    await meters.forceFlush();
    const exported = JSON.stringify([
      spans.getFinishedSpans().map(({ name, attributes, events, status }) => ({ name, attributes, events, status })),
      measured.getMetrics().map(({ scopeMetrics }) => scopeMetrics),
    ]);
    expect(exported).toContain('agentup.list');
    expect(exported).not.toMatch(/Zdenka|secret-name|oslo/);
  });

  it('shows what a sync sends and pulls, how much of it, and what came of it', async () => {
    await using remote = await new ConversationRemote().start();
    const options = { storage, client: { baseUrl: remote.url, apiKey: 'test-key', retries: 0 }, background: false };
    await using sync = new ConversationSync({ ...options, subDomain: 'shop' });
    expect((await sync.pull('user-of-oslo')).status).toBe('absent');
    await sync.addMessage('user-of-oslo', 'user', 'Zdenka says');
    await sync.syncState('user-of-oslo', { payment_method: 'cash of Zdenka' });
    remote.mood = () => ({ status: 503 });
    await trace.getTracer('mine').startActiveSpan('request', async (span) => {
      await sync.flush();
      span.end();
    });
    remote.mood = () => 'up';
    await sync.flush();
    remote.refuse = () => 'INVALID';
    await sync.addMessage('user-of-oslo', 'user', 'more of Zdenka');
    await sync.flush();
    remote.refuse = () => undefined;
    const state = { payment_method: 'yape of Zdenka' };
    expect((await sync.pull('user-of-oslo', { state })).status).toBe('pulled');
    remote.mood = () => 'drop';
    await sync.pull('user-of-oslo');

    const told = (name: string) =>
      named(name).map(({ attributes, status }) => [{ ...attributes }, status.code === SpanStatusCode.ERROR]);
    const sent = (entries: number, outcome: string) => [
      { 'agentup.operation': 'sync.send', 'agentup.entries': entries, 'agentup.outcome': outcome },
      outcome !== 'ok',
    ];
    expect(told('agentup.sync.send')).toEqual([sent(2, 'SYNC_UNAVAILABLE'), sent(2, 'ok'), sent(1, 'SYNC_REFUSED')]);
    const pulled = { 'agentup.changed': 0, 'agentup.conflicts': 1, 'agentup.messages': 0 };
    expect(told('agentup.sync.pull')).toEqual([
      [{ 'agentup.operation': 'sync.pull', 'agentup.outcome': 'absent' }, false],
      [{ 'agentup.operation': 'sync.pull', 'agentup.outcome': 'ok', ...pulled }, false],
      [{ 'agentup.operation': 'sync.pull', 'agentup.outcome': 'SYNC_UNAVAILABLE' }, true],
    ]);
    const [request] = named('request');
    expect(named('agentup.sync.send')[0]?.parentSpanContext?.spanId).toBe(request?.spanContext().spanId);
    expect(await points('agentup.sync.duration')).toHaveLength(6);
    const exported = spans.getFinishedSpans().map(({ attributes, events, status }) => [attributes, events, status]);
    expect(JSON.stringify([exported, measured.getMetrics()])).not.toMatch(/Zdenka|oslo|test-key/);
  });
});
