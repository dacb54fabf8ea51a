import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { closeStorages } from '../../src/agent/default-runtime.js';
import type { ConversationContext } from '../../src/conversation/conversation-context.js';
import { handler } from '../../src/skill/handler.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { withState } from '../../src/skill/with-state.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';

@skill({ id: 'counter', name: 'Counter' })
class Counter {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    const n = await context.incrementVariable(contextId, 'n');
    if (task.text === 'fail') throw new Error('the handler failed');
    return `${n}`;
  }
}

@skill({ id: 'echo' })
class Echo {
  @handler()
  say(task: Task): object {
    return { said: task.text };
  }
}

let directory: string;
const task = (text = 'hi', contextId = 'c1'): Task => ({ id: 't1', contextId, text });

beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'agentup-agent-')));
});

afterEach(async () => {
  await closeStorages();
  await rm(directory, { recursive: true, force: true });
});

describe('an agent', () => {
  it.each([
    [{ n: 1n }, '{ n: 1n }'],
    [() => 1, '[Function (anonymous)]'],
    [new Map([['a', 1]]), '{"a":1}'],
    [{ of: new Map([[1, new Set([2])]]) }, '{"of":[[1,[2]]]}'],
    [undefined, ''],
    [false, 'false'],
  ])('has a text for every value a handler returns: %s', async (value, text) => {
    const odd = withState(async function odd(_task, context, id) {
      await context.incrementVariable(id, 'n');
      return value;
    });
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [odd] });
    expect(await agent.handle(task())).toMatchObject({ text });
    expect(await agent.context.getVariable('c1', 'n')).toBe(1);
  });

  it('routes, runs the turn and replies', async () => {
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Counter, Echo] });
    expect(await agent.handle(task(), { skill: 'counter' })).toEqual({
      skillId: 'counter',
      contextId: 'c1',
      value: '1',
      text: '1',
      redelivered: false,
    });
    expect(await agent.handle(task(), { skill: 'counter' })).toMatchObject({ text: '2' });
    expect(await agent.handle(task('x'), { skill: 'echo' })).toMatchObject({
      value: { said: 'x' },
      text: '{"said":"x"}',
    });
    expect(await agent.context.getVariable('c1', 'n')).toBe(2);
  });

  it('replies with the id of the conversation that the handler ran on', async () => {
    const ran = async (_task: Task, _context: ConversationContext, contextId: string): Promise<string> => contextId;
    const skills = [
      Object.defineProperty(withState(ran, { contextId: ({ text }) => `room ${text}` }), 'name', { value: 'room' }),
      Object.defineProperty(withState(ran, { scope: 'user' }), 'name', { value: 'user' }),
    ];
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills });
    const from = { ...task('7'), userId: 'ada' };
    expect(await agent.handle(from, { skill: 'room' })).toMatchObject({ value: 'room 7', contextId: 'room 7' });
    expect(await agent.handle(from, { skill: 'user' })).toMatchObject({ value: 'ada', contextId: 'ada' });
    await expect(agent.handle(task(), { skill: 'nobody' })).rejects.toMatchObject({ code: 'SKILL_NOT_FOUND' });
  });

  it('passes on what a handler throws, keeps nothing of it, and goes on', async () => {
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Counter] });
    await expect(agent.handle(task('fail'))).rejects.toThrow('the handler failed');
    expect(await agent.handle(task())).toMatchObject({ text: '1' });
  });

  it('remembers on files after it was closed and made again', async () => {
    const config = { state: { backend: 'file' as const, storage_dir: './states' } };
    const first = await createAgent(config, { skills: [Counter], cwd: directory });
    await first.handle(task());
    await first.close();
    await first.close();
    await expect(first.handle(task())).rejects.toMatchObject({ code: 'AGENT_CLOSED' });
    await using second = await createAgent(config, { skills: [Counter], cwd: directory });
    expect(await second.handle(task())).toMatchObject({ text: '2' });
  });

  it('runs the same turn when the method is called directly', async () => {
    await using agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Direct] });
    expect(await agent.handle(task('', 'direct'))).toMatchObject({ text: '1' });
    expect(await new Direct().handle(task('', 'direct'))).toBe('2');
  });

  it('waits for running turns when it closes', async () => {
    let release = (): void => {};
    const started = new Promise<void>((resolveStarted) => {
      slow = withState(async function slowly(_task, context, id) {
        await context.setVariable(id, 'x', 1);
        resolveStarted();
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return 'done';
      });
    });
    const agent = await createAgent({ state: { backend: 'memory' } }, { skills: [slow as never] });
    const reply = agent.handle(task());
    await started;
    const closed = agent.close();
    await expect(agent.handle(task())).rejects.toMatchObject({ code: 'AGENT_CLOSED' });
    release();
    expect(await reply).toMatchObject({ text: 'done' });
    await closed;
  });

  it('waits no longer than it was told to', async () => {
    const started = new Promise<void>((resolveStarted) => {
      slow = withState(async function slowly() {
        resolveStarted();
        await new Promise(() => {});
      });
    });
    const agent = await createAgent({ state: { backend: 'memory' } }, { skills: [slow as never] });
    agent.handle(task()).catch(() => {});
    await started;
    await agent.close({ timeoutMs: 20 });
  });

  it('refuses what JavaScript lets pass: skills that are no list, a text for a task, an option that is none', async () => {
    const config = { state: { backend: 'memory' as const } };
    await expect(createAgent(config, { skills: Counter as never })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { argument: 'skills', fix: 'put it in brackets: { skills: [MySkill] }' },
    });
    await using agent = await createAgent(config, { skills: [Counter, Echo] });
    for (const odd of ['hi', undefined, null]) {
      const refused = { code: 'INVALID_ARGUMENT', details: { argument: 'task' } };
      await expect(agent.handle(odd as never)).rejects.toMatchObject(refused);
      await expect(new Counter().handle(odd as never)).rejects.toMatchObject(refused);
    }
    await expect(agent.handle(task(), { skillId: 'echo' } as never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { argument: 'skillId', fix: 'use one of skill, scope, onChunk' },
    });
  });

  it.each<readonly [string, object, fix: string]>([
    ['a storage as the state', { state: new MemoryStorage() }, "write state: { backend: 'memory' }"],
    ['one in the state', { state: { storage: new MemoryStorage() } }, "write state: { backend: 'memory' }"],
    ['one beside it', { storage: new MemoryStorage() }, "write state: { backend: 'memory' }"],
    ['a skill', { skills: [Counter] }, 'createAgent({ state }, { skills: [MySkill] })'],
  ])('says where code goes that is put into the configuration: %s', async (_, config, fix) => {
    await expect(createAgent(config as never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { fix: expect.stringContaining(fix) },
    });
  });

  it('refuses two skills with one id, and a class without decorated methods', async () => {
    const config = { state: { backend: 'memory' as const } };
    await expect(createAgent(config, { skills: [Counter, Counter] })).rejects.toMatchObject({
      code: 'SKILL_LOAD_FAILED',
    });
    await expect(createAgent(config, { skills: [class Bare {}] })).rejects.toMatchObject({ code: 'SKILL_LOAD_FAILED' });
    await expect(createAgent(config, { skills: [withState(async () => 'x')] })).rejects.toMatchObject({
      message: 'skill without a name: has no id',
    });
    // As JavaScript writes it, or an import that is not there.
    for (const odd of [{ id: 'x', handler: Counter }, undefined]) {
      await expect(createAgent(config, { skills: [odd as never] })).rejects.toMatchObject({
        code: 'SKILL_LOAD_FAILED',
        message: `a skill given as code is a class or a function, not ${typeof odd}`,
      });
    }
  });
});

let slow: unknown;

class Direct {
  @stateful({ storage: 'memory' })
  async handle(
    _task: Task,
    context: ConversationContext = injected(),
    contextId: string = injected(),
  ): Promise<string> {
    return `${await context.incrementVariable(contextId, 'n')}`;
  }
}

describe('a project on disk', () => {
  const skillSource = (id: string, body: string) => `
    import { injected, skill, stateful } from ${JSON.stringify(join(process.cwd(), 'dist/index.js'))};
    @skill({ id: '${id}' })
    export class Handler {
      @stateful()
      async handle(task: any, context: any = injected(), contextId: string = injected()): Promise<string> { ${body} }
    }`;

  async function project(yaml: string, files: Record<string, string> = {}): Promise<string> {
    await mkdir(join(directory, 'skills'), { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
    const config = join(directory, 'agent_config.yaml');
    await writeFile(config, yaml);
    return config;
  }

  it.each(['missing.ts', 'skills/broken.ts#Handler', 'skills/empty.ts', 'skills/throws.ts', 'skills/named.ts#Other'])(
    'does not start when the handler is %s, naming skill and file',
    async (path) => {
      const config = await project(`skills: [{ id: one, handler: ./${path} }]\nstate: { backend: memory }\n`, {
        'skills/broken.ts': 'export class Handler {',
        'skills/empty.ts': 'export const nothing = 1;',
        'skills/throws.ts': 'throw new Error("thrown at load");',
        'skills/named.ts': 'export class Handler {}',
      });
      const failed = createAgent(config);
      await expect(failed).rejects.toMatchObject({
        code: 'SKILL_LOAD_FAILED',
        details: { skillId: 'one', file: join(directory, path.split('#')[0] ?? '') },
      });
      if (path.includes('throws')) await expect(failed).rejects.toThrow('thrown at load');
    },
  );

  it('is found from a directory below it, and says so where there is none', async () => {
    await project('state: { backend: memory }\n');
    await mkdir(join(directory, 'a/b'), { recursive: true });
    await using agent = await createAgent(undefined, { cwd: join(directory, 'a/b') });
    expect(agent.config.state.backend).toBe('memory');
    await rm(join(directory, 'agent_config.yaml'));
    await expect(createAgent(undefined, { cwd: directory })).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' });
    await expect(createAgent(join(directory, 'none.yaml'))).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' });
  });

  it('does not start on an invalid configuration, and reports all of it', async () => {
    const config = await project('state: { backend: valky, ttl: 0 }\nskils: []\n');
    await expect(createAgent(config)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: {
        issues: expect.arrayContaining([
          expect.objectContaining({ path: 'state.backend' }),
          expect.objectContaining({ path: 'state.ttl' }),
          expect.objectContaining({ path: 'skils' }),
        ]),
      },
    });
  });

  it('loads TypeScript sources', async () => {
    const config = await project('skills: [{ id: one, handler: ./skills/one.ts }]\nstate: { backend: memory }\n', {
      'skills/one.ts': skillSource('one', 'return `${task.text} ${await context.incrementVariable(contextId, "n")}`;'),
      'tsconfig.json': '{ "compilerOptions": { "experimentalDecorators": true } }',
      'package.json': '{ "type": "module" }',
    });
    await using agent = await createAgent(config);
    expect(await agent.handle(task('hi'))).toMatchObject({ text: 'hi 1' });
    expect(await agent.handle(task('hi'))).toMatchObject({ text: 'hi 2' });
  });
});

describe('handlers called outside an agent', () => {
  it('share one storage where their options come to the same, and none where they differ', async () => {
    const count = (storageDir: string) =>
      withState((_task, context, id) => context.incrementVariable(id, 'n'), {
        storage: 'file',
        storageDir: join(directory, storageDir),
      });
    expect(await count('a')(task())).toBe(1);
    expect(await count('./a')(task())).toBe(2);
    expect(await count('b')(task())).toBe(1);
    expect(await count('b/../a')(task())).toBe(3);
  });

  it('open their storage again after it was closed', async () => {
    const count = withState((_task, context, id) => context.incrementVariable(id, 'n'), {
      storage: 'file',
      storageDir: directory,
    });
    expect(await count(task())).toBe(1);
    await closeStorages();
    expect(await count(task())).toBe(2);
  });

  it('let go of it whichever installed copy of the package is told to', async () => {
    const copy = (await import(join(process.cwd(), 'dist/index.js'))) as { closeStorages: typeof closeStorages };
    const count = withState((_task, context, id) => context.incrementVariable(id, 'n'), { storage: 'memory' });
    for (const close of [copy.closeStorages, closeStorages]) {
      expect(await count(task())).toBe(1);
      expect(await count(task())).toBe(2);
      await close();
    }
    expect(await count(task())).toBe(1);
  });

  it('need a configuration, or a storage of their own', async () => {
    const before = process.cwd();
    try {
      process.chdir(directory);
      await expect(withState(() => 1)(task())).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' });
      expect(await withState(() => 1, { storage: new MemoryStorage() })(task())).toBe(1);
      await writeFile(join(directory, 'agent_config.yaml'), 'state: { backend: memory, ttl: 30 }\n');
      expect(
        await withState(async (_task, context, id) => {
          await context.setVariable(id, 'x', 1);
          await context.save(id);
          return context.getTtl(id);
        })(task()),
      ).toBe(30);
    } finally {
      process.chdir(before);
    }
  });

  it('on Valkey say which setting is missing', async () => {
    await expect(withState(() => 1, { storage: 'valkey', keyPrefix: 'x:' })(task())).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { argument: 'url' },
    });
    await expect(withState(() => 1, { storage: 'valkey', url: 'valkey://127.0.0.1:1' })(task())).rejects.toMatchObject({
      details: { argument: 'keyPrefix' },
    });
    expect(() => withState(() => 1, { storage: 'redis' as never })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});
