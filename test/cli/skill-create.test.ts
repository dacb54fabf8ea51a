import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { KEYS, runHere, Typist } from './run-cli.js';

const CONFIG = `# My agent.
agent:
  name: Test # its name

skills: # in order
  # The first one.
  - id: first
    handler: ./src/skills/first.ts

# Where it is kept.
state: { backend: file, storage_dir: ./kept } # on disk
`;

let cwd: string;

beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'cli-skill-'));
  await writeFile(join(cwd, 'agent_config.yaml'), CONFIG);
});

afterEach(async () => {
  await rm(cwd, { recursive: true, force: true });
});

interface Config {
  agent: { name: string; default_skill?: string };
  skills: Record<string, unknown>[];
  state: Record<string, unknown>;
}

async function text(): Promise<string> {
  return readFile(join(cwd, 'agent_config.yaml'), 'utf8');
}

async function config(): Promise<Config> {
  return parse(await text()) as Config;
}

describe('agentup skill create', () => {
  it('writes handler, test and entry, and keeps every comment and the order', async () => {
    const ran = await runHere(['skill', 'create', 'Memory helper', '--description', 'Helps', '--yes'], { cwd });
    expect(ran).toMatchObject({ status: 0 });
    expect(await readdir(cwd, { recursive: true })).toEqual(
      expect.arrayContaining(['src/skills/memory_helper.ts', 'test/skills/memory_helper.test.ts']),
    );
    const after = await text();
    for (const line of CONFIG.split('\n')) expect(after).toContain(line);
    expect((await config()).skills[1]).toEqual({
      id: 'memory_helper',
      name: 'Memory helper',
      description: 'Helps',
      handler: './src/skills/memory_helper.ts',
    });
    expect(await readFile(join(cwd, 'src/skills/memory_helper.ts'), 'utf8')).toContain('class MemoryHelperSkill');
  });

  it('says "unchanged" the second time', async () => {
    const create = () =>
      runHere(['skill', 'create', 'Planner', '--template', 'tasks', '--keyword', 'plan', '--default', '--json'], {
        cwd,
      });
    expect((await create()).status).toBe(0);
    const before = await text();
    const again = await create();
    expect(again.status).toBe(0);
    const { files } = JSON.parse(again.stdout) as { files: { action: string }[] };
    expect(files.map(({ action }) => action)).toEqual(['unchanged', 'unchanged', 'unchanged']);
    expect(await text()).toBe(before);
  });

  it('takes every answer as a flag', async () => {
    const ran = await runHere(
      [
        'skill',
        'create',
        'Orders',
        '--id',
        'ord',
        '--no-stateful',
        '--keyword',
        'order',
        '--keyword',
        'buy, sell',
      ].concat(['--pattern', '^#\\d+', '--priority', '7', '--default', '--yes']),
      { cwd },
    );
    expect(ran.status).toBe(0);
    const { agent, skills, state } = await config();
    expect(agent.default_skill).toBe('ord');
    expect(skills[1]).toMatchObject({ id: 'ord', keywords: ['order', 'buy, sell'], patterns: ['^#\\d+'], priority: 7 });
    expect(state).toEqual({ backend: 'file', storage_dir: './kept' });
    expect(await readFile(join(cwd, 'src/skills/ord.ts'), 'utf8')).toContain('@handler()');
  });

  it('refuses to change where all skills keep their conversations without --force', async () => {
    const args = ['skill', 'create', 'Shared', '--storage', 'valkey', '--ttl', '60', '--yes'];
    const refused = await runHere(args, { cwd });
    expect(refused.status).toBe(4);
    expect(refused.stderr).toContain('--force');
    expect(await text()).toBe(CONFIG);
    expect(await readdir(cwd)).toEqual(['agent_config.yaml']);

    expect((await runHere([...args, '--force'], { cwd })).status).toBe(0);
    expect((await config()).state).toEqual({
      backend: 'valkey',
      url: '${VALKEY_URL:valkey://localhost:6379}',
      key_prefix: 'agentup:state:',
      ttl: 60,
    });
    expect(await text()).toContain('# Where it is kept.');
  });

  it('adds a state section where there is none', async () => {
    await writeFile(join(cwd, 'agent_config.yaml'), 'agent: { name: x }\n');
    const ran = await runHere(['skill', 'create', 'A', '--storage', 'memory', '--yes'], { cwd });
    expect(ran.status).toBe(0);
    expect((await config()).state).toEqual({ backend: 'memory' });
  });

  it('leaves the state section alone where the answers say the same', async () => {
    const ran = await runHere(['skill', 'create', 'A', '--storage', 'file', '--storage-dir', './kept', '--yes'], {
      cwd,
    });
    expect(ran.status).toBe(0);
    expect(await text()).toContain('state: { backend: file, storage_dir: ./kept } # on disk');
  });

  it('writes nothing when a file or an entry is in the way', async () => {
    await runHere(['skill', 'create', 'Second', '--yes'], { cwd });
    await writeFile(join(cwd, 'src/skills/second.ts'), '// mine\n');
    const before = await text();
    const file = await runHere(['skill', 'create', 'Second', '--yes'], { cwd });
    expect(file.status).toBe(4);
    expect(file.stderr).toContain('src/skills/second.ts');
    const entry = await runHere(['skill', 'create', 'Another', '--id', 'first', '--yes'], { cwd });
    expect(entry.status).toBe(4);
    expect(entry.stderr).toContain('first');
    expect(await text()).toBe(before);
    // Settings that somebody wrote are not replaced, whatever is forced.
    expect((await runHere(['skill', 'create', 'Another', '--id', 'first', '--yes', '--force'], { cwd })).status).toBe(
      4,
    );
    expect(await text()).toBe(before);
    expect((await runHere(['skill', 'create', 'Second', '--yes', '--force'], { cwd })).status).toBe(0);
    expect(await readFile(join(cwd, 'src/skills/second.ts'), 'utf8')).toContain('class SecondSkill');
  });

  it('writes nothing in a dry run', async () => {
    const ran = await runHere(['skill', 'create', 'X', '--dry-run'], { cwd });
    expect(ran.status).toBe(0);
    expect(ran.stdout).toMatch(/would be updated +agent_config.yaml/);
    expect(await text()).toBe(CONFIG);
    expect(await readdir(cwd)).toEqual(['agent_config.yaml']);
  });

  it.each([
    [[], 'name'],
    [['--yes'], 'name'],
    [['--json'], 'name'],
    [['--dry-run'], 'name'],
    [['two\nlines'], 'name'],
    [['X', '--id', 'Not One'], '--id'],
    [['X', '--pattern', '('], '--pattern'],
    [['X', '--keyword', ' '], '--keyword'],
    [['X', '--priority', 'high'], '--priority'],
    [['X', '--template', 'plain', '--stateful'], '--stateful'],
    [['X', '--no-stateful', '--storage', 'file'], '--storage'],
    [['X', '--storage', 'file', '--key-prefix', 'x'], '--key-prefix'],
  ])('ends with 2 and names what is wrong for %j', async (args, named) => {
    const ran = await runHere(['skill', 'create', ...args], { cwd });
    expect(ran.status).toBe(2);
    expect(ran.stderr).toContain(named);
    expect(await readdir(cwd)).toEqual(['agent_config.yaml']);
  });

  it('ends with 3 without a configuration, and with 1 where it is no YAML', async () => {
    await rm(join(cwd, 'agent_config.yaml'));
    expect((await runHere(['skill', 'create', 'X', '--yes'], { cwd })).status).toBe(3);
    await writeFile(join(cwd, 'agent_config.yaml'), 'skills: [\n');
    const ran = await runHere(['skill', 'create', 'X', '--yes'], { cwd });
    expect(ran.status).toBe(1);
    expect(await readdir(cwd)).toEqual(['agent_config.yaml']);
    expect(await text()).toBe('skills: [\n');
  });
});

describe('agentup skill create at a terminal', () => {
  it('asks for everything, and before it changes where conversations are kept', async () => {
    const typist = new Typist(['skill', 'create'], { cwd });
    try {
      await typist.sees('What is it called');
      typist.type(KEYS.enter);
      await typist.sees('must not be empty');
      typist.type(`Café \${HOME} */${KEYS.enter}`);
      await typist.sees('Its id');
      typist.type(KEYS.enter);
      await typist.sees('Does it remember');
      typist.type(KEYS.enter);
      await typist.sees('Start from');
      typist.type(`${KEYS.down}${KEYS.enter}`);
      await typist.sees('What it does');
      typist.type(KEYS.enter);
      await typist.sees('Where are conversations kept');
      typist.type(`${KEYS.down}${KEYS.enter}`);
      await typist.sees('URL of the Valkey server');
      typist.type(KEYS.enter);
      await typist.sees('Prefix of its keys');
      typist.type(KEYS.enter);
      await typist.sees('Forget a conversation');
      typist.type(KEYS.enter);
      await typist.sees('Words that send a message');
      typist.type(`cafe, kaffee${KEYS.enter}`);
      await typist.sees('Regular expressions');
      typist.type(`(${KEYS.enter}`);
      await typist.sees('is no regular expression');
      typist.type(`\u007f^a,b$${KEYS.enter}`);
      await typist.sees('all skills');
      typist.type(`y${KEYS.enter}`);
      expect(await typist.exited).toBe(0);
    } finally {
      typist.stop();
    }
    const { skills, state } = await config();
    expect(skills[1]).toMatchObject({
      id: 'cafe_home',
      name: 'Café $${HOME} */',
      keywords: ['cafe', 'kaffee'],
      patterns: ['^a,b$'],
    });
    expect(state).toMatchObject({ backend: 'valkey' });
    expect(await readFile(join(cwd, 'src/skills/cafe_home.ts'), 'utf8')).toContain('pause');
  });

  it('offers an id that is free, and refuses one that is taken where it asks for it', async () => {
    await mkdir(join(cwd, 'src/skills'), { recursive: true });
    await writeFile(join(cwd, 'src/skills/first_2.ts'), '// mine\n');
    const typist = new Typist(['skill', 'create', 'First', '--template', 'plain'], { cwd });
    try {
      await typist.sees('Its id');
      await typist.sees('first_3');
      typist.type(`first${KEYS.enter}`);
      await typist.sees('there is a skill first already; choose another id');
      typist.type(`_2${KEYS.enter}`);
      await typist.sees('src/skills/first_2.ts exists already; choose another id');
      typist.type(`${'\u007f'.repeat('first_2'.length)}${KEYS.enter}`);
      for (const question of ['What it does', 'Words that', 'Regular expressions']) {
        await typist.sees(question);
        typist.type(KEYS.enter);
      }
      expect(await typist.exited).toBe(0);
    } finally {
      typist.stop();
    }
    expect((await config()).skills.map(({ id }) => id)).toEqual(['first', 'first_3']);
  });

  it('asks nothing where the id that a flag names is taken, and changes nothing where all answers are flags', async () => {
    const typist = new Typist(['skill', 'create', '--id', 'first'], { cwd });
    try {
      expect(await typist.exited).toBe(4);
      expect(typist.shown).toContain('there is a skill first already');
      expect(typist.shown).not.toContain('What is it called');
    } finally {
      typist.stop();
    }
    const flags = ['--id', 'a', '--template', 'plain', '--description', 'A.', '--keyword', 'a', '--pattern', 'a'];
    for (const action of ['created', 'unchanged']) {
      const again = new Typist(['skill', 'create', 'A', ...flags], { cwd });
      try {
        await again.sees(action);
        expect(await again.exited).toBe(0);
      } finally {
        again.stop();
      }
    }
  });

  it('keeps everything as it was when somebody thinks better of it', async () => {
    const typist = new Typist(['skill', 'create', 'X', '--storage', 'memory', '--template', 'memory'], { cwd });
    try {
      for (const question of ['Its id', 'What it does', 'Forget a conversation', 'Words that', 'Regular expressions']) {
        await typist.sees(question);
        typist.type(KEYS.enter);
      }
      await typist.sees('all skills');
      typist.type(`n${KEYS.enter}`);
      expect(await typist.exited).toBe(4);
    } finally {
      typist.stop();
    }
    expect(await text()).toBe(CONFIG);
    expect(await readdir(cwd)).toEqual(['agent_config.yaml']);
  });

  it.each([
    ['Ctrl-C', KEYS.ctrlC],
    ['Ctrl-D', KEYS.ctrlD],
  ])('writes nothing on %s at the last question', async (_, key) => {
    const typist = new Typist(['skill', 'create', 'X', '--template', 'plain'], { cwd });
    try {
      for (const question of ['Its id', 'What it does', 'Words that']) {
        await typist.sees(question);
        typist.type(KEYS.enter);
      }
      await typist.sees('Regular expressions');
      typist.type(key);
      expect(await typist.exited).toBe(130);
    } finally {
      typist.stop();
    }
    expect(await text()).toBe(CONFIG);
    expect(await readdir(cwd)).toEqual(['agent_config.yaml']);
  });
});
