import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { interruptCli, KEYS, run, runCli, runHere, Typist } from './run-cli.js';

let cwd: string;

beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'cli-init-'));
});

afterEach(async () => {
  await rm(cwd, { recursive: true, force: true });
});

const FILES = [
  '.gitignore',
  'README.md',
  'agent_config.yaml',
  'package.json',
  'src/skills/assistant.ts',
  'test/skills/assistant.test.ts',
  'tsconfig.json',
  'vitest.config.ts',
];

async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

describe('agentup init', () => {
  it('makes a project without asking, and says "unchanged" the second time', async () => {
    const first = await runCli(['init', 'my agent'], { cwd });
    expect(first).toMatchObject({ status: 0 });
    expect(first.stderr).toContain('npm install');
    expect(await filesIn(join(cwd, 'my agent'))).toEqual(FILES);
    const second = await runHere(['init', 'my agent'], { cwd });
    expect(second.status).toBe(0);
    expect(
      second.stdout
        .trim()
        .split('\n')
        .every((line) => line.startsWith('unchanged')),
    ).toBe(true);
  });

  it.runIf(process.platform !== 'win32').each(['a b', "it's", '$(exit 3)', '`exit 3`', '-dash', 'say "$HOME"'])(
    'says how to go into %s, for a shell to be pasted into',
    async (name) => {
      const { stderr } = await runHere(['init', '--yes', `./${name}`], { cwd });
      const [line = ''] = /cd .*/.exec(stderr) ?? [];
      const gone = await run('/bin/sh', ['-c', `${line} && cat agent_config.yaml`], { cwd });
      expect(gone).toMatchObject({ status: 0, stderr: '' });
    },
  );

  it('reports as JSON, and takes every answer as a flag', async () => {
    const ran = await runHere(
      [
        'init',
        '--json',
        '--name',
        'Ana "the" agent',
        '--skill',
        'Planner',
        '--skill-id',
        'plan',
        '--description',
        'Plans',
      ]
        .concat(['--template', 'tasks', '--storage', 'valkey', '--url', 'valkey://host:1/2', '--key-prefix', 'x:'])
        .concat(['--ttl', '60', '--agentup', 'file:../agentup']),
      { cwd },
    );
    expect(ran).toMatchObject({ status: 0, stderr: '' });
    const { files, skill } = JSON.parse(ran.stdout) as { files: { path: string; action: string }[]; skill: unknown };
    expect(skill).toEqual({ id: 'plan', name: 'Planner', description: 'Plans', flavour: 'tasks' });
    expect(files.every(({ action }) => action === 'created')).toBe(true);
    const config = await readFile(join(cwd, 'agent_config.yaml'), 'utf8');
    expect(config).toContain('state: { backend: valkey, url: "valkey://host:1/2", key_prefix: "x:", ttl: 60 }');
    expect(config).toContain('name: "Ana \\"the\\" agent"');
    expect(JSON.parse(await readFile(join(cwd, 'package.json'), 'utf8'))).toMatchObject({
      name: 'ana-the-agent',
      dependencies: { agentup: 'file:../agentup' },
    });
  });

  it('writes nothing in a dry run', async () => {
    const ran = await runHere(['init', '--dry-run'], { cwd });
    expect(ran.status).toBe(0);
    expect(ran.stdout).toContain('would be created');
    expect(await readdir(cwd)).toEqual([]);
  });

  it('adds to a package.json and a .gitignore, and leaves everything alone when another file is in the way', async () => {
    await writeFile(join(cwd, 'package.json'), '{\n  "name": "mine",\n  "dependencies": {}\n}\n');
    await writeFile(join(cwd, '.gitignore'), '*.log\n');
    await writeFile(join(cwd, 'tsconfig.json'), '{}');
    const before = await readFile(join(cwd, 'package.json'), 'utf8');
    const refused = await runHere(['init', '--yes'], { cwd });
    expect(refused.status).toBe(4);
    expect(refused.stderr).toContain('tsconfig.json exists already');
    expect(await filesIn(cwd)).toEqual(['.gitignore', 'package.json', 'tsconfig.json']);
    expect(await readFile(join(cwd, 'package.json'), 'utf8')).toBe(before);

    await rm(join(cwd, 'tsconfig.json'));
    expect((await runHere(['init', '--yes'], { cwd })).status).toBe(0);
    expect(JSON.parse(await readFile(join(cwd, 'package.json'), 'utf8'))).toMatchObject({
      name: 'mine',
    });
    expect(await readFile(join(cwd, '.gitignore'), 'utf8')).toMatch(/^\*\.log\nnode_modules\//);
  });

  it.each([[[]], [['--force']]])('leaves the README.md of a repository alone: %j', async (flags) => {
    await writeFile(join(cwd, 'README.md'), 'mine');
    const { status, stdout } = await runHere(['init', '--yes', ...flags], { cwd });
    expect(status).toBe(0);
    expect(stdout).toMatch(/unchanged +README\.md/);
    expect(await readFile(join(cwd, 'README.md'), 'utf8')).toBe('mine');
  });

  it('does not take --yes for --force', async () => {
    await runHere(['init', '--yes'], { cwd });
    await writeFile(join(cwd, 'vitest.config.ts'), 'mine');
    expect((await runHere(['init', '--yes'], { cwd })).status).toBe(4);
    expect(await readFile(join(cwd, 'vitest.config.ts'), 'utf8')).toBe('mine');
    expect((await runHere(['init', '--yes', '--force'], { cwd })).stdout).toMatch(/overwritten +vitest\.config\.ts/);
  });

  it.each([
    [['--name', 'two\nlines'], '--name'],
    [['--skill-id', '../up'], '--skill-id'],
    [['--storage', 'redis'], '--storage'],
    [['--template', 'nothing'], '--template'],
    [['--ttl', '0'], '--ttl'],
    [['--ttl', '1.5'], '--ttl'],
    [['--ttl', '1.5s'], '--ttl'],
    [['--ttl', '2w'], '--ttl'],
    [['--storage', 'file', '--url', 'valkey://x'], '--url'],
    [['--storage', 'valkey', '--url', 'localhost'], 'write valkey:// before it: valkey://host:6379'],
    [['--storage', 'valkey', '--url', 'valkey://ana:12/3@h'], 'percent-encode it'],
    [['--storage-dir', '~/states'], 'write ${HOME}/states, or'],
    [['--cwd', 'nowhere'], '--cwd'],
  ])('ends with 2 and names the flag, or what to give it, for %j', async (args, flag) => {
    const ran = await runHere(['init', ...args], { cwd });
    expect(ran.status).toBe(2);
    expect(ran.stderr).toContain(flag);
    expect(await readdir(cwd)).toEqual([]);
  });

  it('ends with 1 and writes nothing where a file stands in the place of the directory', async () => {
    await writeFile(join(cwd, 'taken'), '');
    const ran = await runHere(['init', 'taken/deep'], { cwd });
    expect([1, 4]).toContain(ran.status);
    expect(await filesIn(cwd)).toEqual(['taken']);
  });
});

describe('agentup init when it is interrupted', () => {
  it('leaves all files or none, whenever Ctrl-C comes', async () => {
    for (let delay = 20; delay <= 160; delay += 10) {
      const directory = join(cwd, `at-${delay}`);
      await interruptCli(['init', directory, '--yes'], { cwd, afterMs: delay });
      expect([[], FILES]).toContainEqual(await filesIn(directory).catch(() => []));
    }
  });
});

describe('agentup init at a terminal', () => {
  it('asks, and does what it is told', async () => {
    await mkdir(join(cwd, 'fun'));
    const typist = new Typist(['init', 'fun'], { cwd });
    try {
      await typist.sees("The agent's name");
      typist.type(`Fun agent${KEYS.enter}`);
      await typist.sees('Its first skill');
      typist.type(`Say "hi" \`now\`${KEYS.enter}`);
      await typist.sees('Its id');
      typist.type(KEYS.enter);
      await typist.sees('Does it remember');
      typist.type(`n${KEYS.enter}`);
      await typist.sees('What it does');
      typist.type(KEYS.enter);
      await typist.sees('Where are conversations kept');
      typist.type(`${KEYS.down}${KEYS.enter}`);
      await typist.sees('URL of the Valkey server');
      typist.type(KEYS.enter);
      await typist.sees('Prefix of its keys');
      typist.type(KEYS.enter);
      await typist.sees('Forget a conversation');
      typist.type(`soon${KEYS.enter}`);
      await typist.sees('neither a whole number');
      typist.type(`${'\u007f'.repeat(4)}1h${KEYS.enter}`);
      await typist.sees('npm run chat');
      expect(await typist.exited).toBe(0);
    } finally {
      typist.stop();
    }
    expect(await filesIn(join(cwd, 'fun'))).toContain('src/skills/say_hi_now.ts');
    const config = await readFile(join(cwd, 'fun/agent_config.yaml'), 'utf8');
    expect(config).toContain('backend: valkey, url: "${VALKEY_URL:valkey://localhost:6379}"');
    expect(config).toContain('ttl: 3600');
  });

  it.each([
    ['agent_config.yaml', 'agent: { name: mine }\n', 'agent_config.yaml exists already'],
    ['tsconfig.json', '{}\n', 'tsconfig.json exists already'],
    ['package.json', 'mine', 'package.json is not JSON'],
  ])('asks nothing where %s is in the way of any answer', async (file, content, said) => {
    await writeFile(join(cwd, file), content);
    const typist = new Typist(['init', '--storage', 'file'], { cwd });
    try {
      expect(await typist.exited).toBe(4);
      expect(typist.shown).toContain(said);
      expect(typist.shown).not.toContain("The agent's name");
    } finally {
      typist.stop();
    }
    expect(await filesIn(cwd)).toEqual([file]);
  });

  it('asks where --force replaces what is there, and for an id where a handler is in its place', async () => {
    await mkdir(join(cwd, 'src/skills'), { recursive: true });
    await writeFile(join(cwd, 'src/skills/assistant.ts'), '// mine\n');
    const typist = new Typist(['init', '--skill', 'Assistant'], { cwd });
    const replaces = new Typist(['init', '--force', '--skill', 'Assistant'], { cwd });
    try {
      for (const [at, id] of [
        [typist, 'assistant_2'],
        [replaces, '(assistant)'],
      ] as const) {
        await at.sees("The agent's name");
        at.type(KEYS.enter);
        await at.sees('Its id');
        await at.sees(id);
        at.type(KEYS.ctrlC);
        expect(await at.exited).toBe(130);
      }
    } finally {
      typist.stop();
      replaces.stop();
    }
  });

  it('has nothing to do the second time where every answer is a flag', async () => {
    const flags = ['--name', 'x', '--skill', 'A', '--skill-id', 'a', '--description', 'A.', '--template', 'plain'];
    for (const action of ['created', 'unchanged']) {
      const typist = new Typist(['init', ...flags, '--storage', 'memory', '--ttl', 'none'], { cwd });
      try {
        await typist.sees(`${action.padEnd(11)} agent_config.yaml`);
        expect(await typist.exited).toBe(0);
      } finally {
        typist.stop();
      }
    }
  });

  it.each([
    ['Ctrl-C', KEYS.ctrlC],
    ['Ctrl-D, which closes the input', KEYS.ctrlD],
  ])('ends with 130 and writes nothing on %s', async (_, key) => {
    const typist = new Typist(['init'], { cwd });
    try {
      await typist.sees("The agent's name");
      typist.type(KEYS.enter);
      await typist.sees('Its first skill');
      typist.type(key);
      expect(await typist.exited).toBe(130);
      expect(typist.shown).toContain('nothing was written');
    } finally {
      typist.stop();
    }
    expect(await readdir(cwd)).toEqual([]);
  });

  it('writes nothing when the terminal goes away', async () => {
    const typist = new Typist(['init'], { cwd });
    await typist.sees("The agent's name");
    typist.hangUp();
    expect(await typist.exited).not.toBe(0);
    expect(await readdir(cwd)).toEqual([]);
  });

  it.each([
    { args: ['--yes'], env: {} },
    { args: ['--dry-run'], env: {} },
    { args: ['--json'], env: {} },
    { args: [], env: { CI: 'true' } },
  ])('asks nothing with $args $env', async ({ args, env }) => {
    const typist = new Typist(['init', ...args], { cwd, env });
    try {
      expect(await typist.exited).toBe(0);
      expect(typist.shown).not.toContain("The agent's name");
    } finally {
      typist.stop();
    }
  });
});
