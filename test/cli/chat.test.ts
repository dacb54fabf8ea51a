import { readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startValkey } from '../support/index.js';
import { freshProject } from './project.js';
import { KEYS, runCli, runHere, Typist } from './run-cli.js';

let cwd: string;

const FRAGILE = `import { injected, skill, stateful, type ConversationContext, type Task } from 'agentup';

@skill({ id: 'fragile', description: 'Fails when told to' })
export class Fragile {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    const seen = await context.incrementVariable(contextId, 'seen');
    if (task.text === 'fail') throw new Error('told to fail, with valkey://ana:s3cret@host in it');
    if (task.text === 'fail not') return { big: 1n } as never;
    if (task.text === 'hang') await new Promise((resolve) => setTimeout(resolve, 60_000));
    return \`seen \${seen}\`;
  }
}
`;

const SPECIAL = `import { injected, skill, stateful, type ConversationContext, type Task } from 'agentup';

@skill({ id: 'personal', description: 'One memory per user' })
export class Personal {
  @stateful({ scope: 'user' })
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    return \`\${contextId} \${await context.incrementVariable(contextId, 'times')}\`;
  }
}

@skill({ id: 'apart', description: 'A storage of its own' })
export class Apart {
  @stateful({ storage: 'memory' })
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()): Promise<string> {
    return \`apart \${await context.incrementVariable(contextId, 'times')}\`;
  }
}
`;

beforeAll(async () => {
  cwd = await freshProject();
  await writeFile(join(cwd, 'src/skills/special.ts'), SPECIAL);
  await writeFile(join(cwd, 'src/skills/fragile.ts'), FRAGILE);
  await writeFile(
    join(cwd, 'agent_config.yaml'),
    [
      'agent: { name: Test agent, default_skill: assistant }',
      'skills:',
      '  - { id: assistant, handler: ./src/skills/assistant.ts }',
      '  - { id: fragile, handler: ./src/skills/fragile.ts, keywords: [fail, hang] }',
      '  - { id: personal, handler: "./src/skills/special.ts#Personal" }',
      '  - { id: apart, handler: "./src/skills/special.ts#Apart" }',
      'state: { backend: file }',
      '',
    ].join('\n'),
  );
});

afterAll(async () => {
  await rm(cwd, { recursive: true, force: true });
});

describe('agentup chat --once', () => {
  it('remembers from one process to the next, with nothing but the answer on stdout', async () => {
    const first = await runCli(['chat', '--once', 'My name is Ada', '--context', 'once'], { cwd });
    expect(first.stdout).toBe('Hello Ada. This is message 1.\n');
    expect(first.status).toBe(0);
    const second = await runCli(['chat', '--once', 'hello', '--context', 'once'], { cwd });
    expect(second.stdout).toBe('Hello Ada. This is message 2. Before that you said "My name is Ada".\n');
  });

  it('begins a new conversation without --context, and says how to come back', async () => {
    const { stdout, stderr } = await runHere(['chat', '--once', 'hello'], { cwd });
    expect(stdout).toContain('message 1');
    const id = /--context (\S+)/.exec(stderr)?.[1] ?? '';
    expect((await runHere(['chat', '--once', 'hello', '--context', id], { cwd })).stdout).toContain('message 2');
  });

  it('answers as JSON', async () => {
    const ran = await runHere(['chat', '--json', '--once', 'hello', '--context', 'json'], { cwd });
    expect(ran.stderr).toBe('');
    expect(JSON.parse(ran.stdout)).toEqual({
      skillId: 'assistant',
      contextId: 'json',
      text: 'Hello. This is message 1.',
      value: 'Hello. This is message 1.',
    });
  });

  it('ends with 1 when the turn fails, shows why without secrets, and keeps nothing of it', async () => {
    const failed = await runCli(['chat', '--once', 'fail', '--context', 'failing'], { cwd });
    expect(failed).toMatchObject({ status: 1, stdout: '' });
    expect(failed.stderr).toContain('told to fail');
    expect(failed.stderr).not.toContain('s3cret');
    const next = await runHere(['chat', '--once', 'ok', '--skill', 'fragile', '--context', 'failing'], { cwd });
    expect(next.stdout).toBe('seen 1\n');
  });

  it('hands the conversation of one user to no other', async () => {
    const chat = (user: string) =>
      runHere(['chat', '--once', 'hello', '--context', 'owned', '--user', user, '--json'], { cwd });
    expect((await chat('ana')).status).toBe(0);
    const ben = await chat('ben');
    expect(ben.status).toBe(1);
    expect(JSON.parse(ben.stdout)).toMatchObject({
      error: { code: 'CONTEXT_FORBIDDEN', fix: expect.stringContaining('--user') },
    });
  });

  it('prints as text what JSON cannot hold', async () => {
    const { status, stdout } = await runHere(['chat', '--once', 'fail not', '--context', 'big', '--json'], { cwd });
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ skillId: 'fragile', contextId: 'big', text: '{ big: 1n }' });
  });

  it('says where in the project a handler threw', async () => {
    const { stderr } = await runCli(['chat', '--once', 'fail'], { cwd });
    expect(stderr).toMatch(/error told to fail.*\n {2}at src\/skills\/fragile\.ts:8:\d+\n/);
    const fromElsewhere = ['chat', '--once', 'fail', '--config', join(cwd, 'agent_config.yaml')];
    expect((await runCli(fromElsewhere, { cwd: tmpdir() })).stderr).toContain('at src/skills/fragile.ts:8:');
  });

  it.each([
    [['--context', ''], 2],
    [['--user', ' '], 2],
    [['--skill', 'nobody'], 1],
    [['--config', 'gone.yaml'], 3],
  ])('ends with the right status for %j', async (args, status) => {
    expect((await runHere(['chat', '--once', 'hello', ...args], { cwd })).status).toBe(status);
  });

  it('takes ids of any characters, and leaves the directory of the conversations', async () => {
    const before = await readdir(cwd);
    for (const id of ['../../escape', 'a/b:*[\u0001', 'Ünï🤖']) {
      expect((await runHere(['chat', '--once', 'hello', `--context=${id}`], { cwd })).status).toBe(0);
    }
    expect(await readdir(cwd)).toEqual(before);
  });
});

describe('agentup chat with a pipe', () => {
  it('answers each line on stdout, goes on after a failing one, and says so in the end', async () => {
    const input = 'My name is Ada\n\nfail\nhello\r\nlast one without an end';
    const ran = await runCli(['chat', '--context', 'piped'], { cwd, input });
    expect(ran.stdout.trim().split('\n')).toEqual([
      'Hello Ada. This is message 1.',
      'Hello Ada. This is message 2. Before that you said "My name is Ada".',
      'Hello Ada. This is message 3. Before that you said "hello".',
    ]);
    expect(ran.stderr).toContain('told to fail');
    expect(ran.status).toBe(1);
  });

  it('prints a line of JSON for each, errors included', async () => {
    const ran = await runHere(['chat', '--json', '--context', 'piped-json'], { cwd, input: 'hello\nfail\n' });
    const lines = ran.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([
      { skillId: 'assistant' },
      { error: { message: expect.stringContaining('told to fail') } },
    ]);
  });

  it('does nothing with nothing', async () => {
    expect(await runHere(['chat'], { cwd, input: '' })).toMatchObject({ status: 0, stdout: '' });
  });
});

describe('agentup chat at a terminal', () => {
  async function chat(args: string[], talk: (typist: Typist) => Promise<void>): Promise<number> {
    const typist = new Typist(['chat', ...args], { cwd });
    try {
      await typist.sees('you');
      await talk(typist);
      return await typist.exited;
    } finally {
      typist.stop();
    }
  }

  it('talks, knows its commands, and leaves with /quit', async () => {
    const status = await chat(['--context', 'tty'], async (typist) => {
      typist.type(`My name is Ada${KEYS.enter}`);
      await typist.sees('Hello Ada. This is message 1.');
      typist.type(`/vars${KEYS.enter}`);
      await typist.sees('name = "Ada"');
      typist.type(`/history${KEYS.enter}`);
      await typist.sees('user: My name is Ada');
      await typist.sees('assistant: Hello Ada.');
      typist.type(`/skill fragile${KEYS.enter}`);
      await typist.sees('everything goes to fragile');
      typist.type(`anything${KEYS.enter}`);
      await typist.sees('seen 1');
      typist.type(`/skill nobody${KEYS.enter}`);
      await typist.sees('there is no skill "nobody"');
      typist.type(`/skill auto${KEYS.enter}`);
      await typist.sees('the agent chooses');
      typist.type(`/histroy${KEYS.enter}`);
      await typist.sees('did you mean /history?');
      typist.type(`//slash${KEYS.enter}`);
      await typist.sees('message 2');
      typist.type(`/new elsewhere${KEYS.enter}`);
      await typist.sees('conversation elsewhere');
      typist.type(`/vars${KEYS.enter}`);
      await typist.sees('there are no variables');
      typist.type(`/he${KEYS.tab}`);
      await typist.sees('/help');
      typist.type(KEYS.enter);
      await typist.sees('/quit');
      typist.type(`/quit${KEYS.enter}`);
    });
    expect(status).toBe(0);
  });

  it('shows the memory of the skill at work, whosever it is', async () => {
    const status = await chat(['--user', 'ana', '--skill', 'personal'], async (typist) => {
      typist.type(`hello${KEYS.enter}`);
      await typist.sees('ana 1');
      typist.type(`/new${KEYS.enter}`);
      await typist.sees('conversation');
      typist.type(`/vars${KEYS.enter}`);
      await typist.sees('times = 1');
      typist.type(`/skill apart${KEYS.enter}`);
      await typist.sees('everything goes to apart');
      typist.type(`hello${KEYS.enter}`);
      await typist.sees('apart 1');
      typist.type(`/vars${KEYS.enter}`);
      await typist.sees('times = 1');
      typist.type(`/quit${KEYS.enter}`);
    });
    expect(status).toBe(0);
  });

  it('shows no control character of what users have said, nor of what the agent says', async () => {
    const input = 'remember that \u001b]0;owned\u0007\u009b2J\u202e it is\n';
    expect((await runHere(['chat', '--context', 'tty-escape'], { cwd, input })).status).toBe(0);
    await chat(['--context', 'tty-escape', '--skill', 'assistant'], async (typist) => {
      typist.type(`/history${KEYS.enter}`);
      await typist.sees('user: remember that �]0;owned��2J� it is');
      typist.type(`/vars${KEYS.enter}`);
      await typist.sees('\\u001b]0;owned\\u0007�2J� it is');
      typist.type(`hello${KEYS.enter}`);
      await typist.sees('Before that you said "remember that �]0;owned��2J� it is"');
      typist.type(`/quit${KEYS.enter}`);
      await typist.exited;
      for (const raw of ['\u001b]0;', '\u009b', '\u202e']) expect(typist.shown).not.toContain(raw);
    });
  });

  it('shows a turn that fails, and goes on', async () => {
    const status = await chat(['--context', 'tty-fail'], async (typist) => {
      typist.type(`fail${KEYS.enter}`);
      await typist.sees('told to fail');
      typist.type(`hello${KEYS.enter}`);
      await typist.sees('message 1');
      typist.type(KEYS.ctrlD);
    });
    expect(status).toBe(0);
  });

  it('says on leaving how to come back', async () => {
    let shown = '';
    await chat([], async (typist) => {
      typist.type(KEYS.ctrlD);
      await typist.exited;
      shown = typist.shown;
    });
    expect(shown.match(/agentup chat --context (chat-\w+)/g)).toHaveLength(2);
  });

  it('says that a conversation in memory ends with the chat, and promises no way back', async () => {
    const skills = 'skills: [{ id: assistant, handler: ./src/skills/assistant.ts }]\n';
    await writeFile(join(cwd, 'memory.yaml'), `${skills}state: { backend: memory }\n`);
    for (const args of [
      ['--config', 'memory.yaml'],
      ['--skill', 'apart'],
    ]) {
      const { stderr } = await runHere(['chat', '--once', 'hello', ...args], { cwd });
      expect(stderr).toMatch(/^conversation chat-\w+ · kept in memory only: it ends with this chat\n$/);
    }
    let shown = '';
    await chat(['--config', 'memory.yaml'], async (typist) => {
      typist.type(KEYS.ctrlD);
      await typist.exited;
      shown = typist.shown;
    });
    expect(shown.match(/ends with this chat/g)).toHaveLength(2);
    expect(shown).not.toContain('come back');
  });

  it('takes back a half-written line on Ctrl-C, and leaves with 130 on an empty one', async () => {
    const status = await chat(['--context', 'tty-c'], async (typist) => {
      typist.type(`rubbish${KEYS.ctrlC}hello${KEYS.enter}`);
      await typist.sees('message 1');
      typist.type(KEYS.ctrlC);
    });
    expect(status).toBe(130);
  });

  it('leaves at once on Ctrl-C while a turn runs, and keeps nothing of it', async () => {
    const status = await chat(['--context', 'tty-hang'], async (typist) => {
      typist.type(`hang${KEYS.enter}`);
      await typist.sees('…');
      typist.type(KEYS.ctrlC);
      await typist.sees('left before the answer came');
    });
    expect(status).toBe(130);
    const next = await runHere(['chat', '--once', 'ok', '--skill', 'fragile', '--context', 'tty-hang'], { cwd });
    expect(next.stdout).toBe('seen 1\n');
  });

  it('says that the storage is down, and goes on when it is back', async () => {
    let server = await startValkey();
    await writeFile(
      join(cwd, 'valkey.yaml'),
      [
        'skills: [{ id: assistant, handler: ./src/skills/assistant.ts }]',
        `state: { backend: valkey, url: "${server.url}", key_prefix: "chat:" }`,
        '',
      ].join('\n'),
    );
    try {
      const status = await chat(['--config', 'valkey.yaml', '--context', 'down'], async (typist) => {
        typist.type(`hello${KEYS.enter}`);
        await typist.sees('message 1');
        await server.kill9();
        typist.type(`hello?${KEYS.enter}`);
        await typist.sees('error', 5_000);
        server = await startValkey(['--port', String(server.port)]);
        typist.type(`back again${KEYS.enter}`);
        await typist.sees('message 1');
        typist.type(`/quit${KEYS.enter}`);
      });
      expect(status).toBe(0);
    } finally {
      await server.stop();
    }
  });
});
