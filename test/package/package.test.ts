import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

interface Manifest {
  readonly exports: Record<string, unknown>;
  readonly version: string;
}

let consumer: string;
let packed: string[];
let installed: Ran;
let manifest: Manifest;

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, args: readonly string[], cwd: string): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const shell = process.platform === 'win32';
    const child = spawn(program, args, { cwd, shell, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk) => (stderr += chunk));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).replaceAll('\\', '/'))
    .sort();
}

beforeAll(async () => {
  manifest = JSON.parse(await readFile('package.json', 'utf8')) as Manifest;
  consumer = await realpath(await mkdtemp(join(tmpdir(), 'agentup-consumer-')));
  expect(await run(process.execPath, ['scripts/build.mjs'], process.cwd())).toMatchObject({ code: 0 });
  const pack = await run(
    'npm',
    ['pack', '--json', '--ignore-scripts', `--pack-destination=${consumer}`],
    process.cwd(),
  );
  expect(pack.code, pack.stderr).toBe(0);
  const [{ filename, files }] = JSON.parse(pack.stdout) as [{ filename: string; files: { path: string }[] }];
  packed = files.map(({ path }) => path).sort();
  await writeFile(join(consumer, 'package.json'), '{ "name": "consumer", "private": true, "type": "module" }\n');
  const flags = ['--prefer-offline', '--no-audit', '--no-fund'];
  installed = await run('npm', ['install', ...flags, `./${filename}`], consumer);
}, 180_000);

afterAll(() => rm(consumer, { recursive: true, force: true }));

test('the tarball holds what the package needs and nothing else', async () => {
  const sources = await filesBelow('src');
  const compiled = sources.flatMap((path) => {
    const target = path.replace(/^src/, 'dist');
    return path.endsWith('.ts') ? [target.replace(/ts$/, 'js'), target.replace(/ts$/, 'd.ts')] : [target];
  });
  const expected = [
    ...['ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE', 'README.md', 'package.json', 'bin/agentup.js'],
    'dist/agent_config.schema.json',
    ...compiled,
    ...(await filesBelow('docs')),
    ...(await filesBelow('templates')),
    // What a run of an example has left beside it is not for anybody else.
    ...(await filesBelow('examples')).filter((path) => /^examples\/[^/]+\/[^/]+\.(?:md|ts|yaml)$/.test(path)),
  ];
  expect(packed).toEqual(expected.sort());
  expect(packed.some((path) => path.endsWith('.lua'))).toBe(true);
});

test('no link of its documents leads nowhere', async () => {
  const documents = packed.filter((path) => path.endsWith('.md') && !path.startsWith('templates/'));
  const dead: string[] = [];
  let links = 0;
  for (const document of documents) {
    for (const [, link = ''] of (await readFile(document, 'utf8')).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      links++;
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? document : posix.join(posix.dirname(document), path);
      const isThere = packed.some((file) => file === target || file.startsWith(`${target}/`));
      if (!isThere || (anchor && !(await headingsOf(target)).includes(anchor))) dead.push(`${document}: ${link}`);
    }
  }
  expect(dead).toEqual([]);
  expect(links).toBeGreaterThan(50);
});

/** The anchors that a page of Markdown has. */
async function headingsOf(document: string): Promise<string[]> {
  const headings = (await readFile(document, 'utf8')).matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('it installs without complaint, also about the version of Node', () => {
  expect(installed.code, installed.stderr).toBe(0);
  expect(installed.stdout + installed.stderr).not.toMatch(/EBADENGINE|deprecated|ERESOLVE/);
});

test('every subpath export imports, and a process that used them ends by itself', async () => {
  const subpaths = Object.keys(manifest.exports).filter((path) => path !== './package.json');
  const specifiers = subpaths.map((path) => `agentup${path.slice(1)}`);
  await writeFile(
    join(consumer, 'use.js'),
    `import 'reflect-metadata';
import { withState } from 'agentup';
import { MemoryStorage } from 'agentup/storage';
import { storageConformance } from 'agentup/testing';
import manifest from 'agentup/package.json' with { type: 'json' };

const counts = {};
for (const specifier of ${JSON.stringify(specifiers)}) counts[specifier] = Object.keys(await import(specifier)).length;
const greet = withState(async (task, context, id) => context.incrementVariable(id, 'visits'), {
  storage: new MemoryStorage(),
});
await greet({ id: 't1', contextId: 'c1', text: 'hi' });
const visits = await greet({ id: 't2', contextId: 'c1', text: 'hi' });
console.log(JSON.stringify({ counts, visits, conformance: typeof storageConformance, version: manifest.version }));
`,
  );
  const { code, stdout, stderr } = await run(process.execPath, ['--no-warnings', 'use.js'], consumer);
  expect(code, stderr).toBe(0);
  const { counts, ...used } = JSON.parse(stdout) as { counts: Record<string, number> };
  expect(Object.keys(counts)).toEqual(specifiers);
  for (const specifier of specifiers) expect(counts[specifier], specifier).toBeGreaterThan(0);
  expect(used).toEqual({ visits: 2, conformance: 'function', version: manifest.version });
});

test('CommonJS can require every subpath export', async () => {
  const specifiers = Object.keys(manifest.exports).map((path) => `agentup${path.slice(1)}`);
  await writeFile(
    join(consumer, 'use.cjs'),
    `const { withState } = require('agentup');
const { MemoryStorage } = require('agentup/storage');
const greet = withState(async (task, context, id) => context.incrementVariable(id, 'visits'), { storage: new MemoryStorage() });
const empty = ${JSON.stringify(specifiers)}.filter((specifier) => Object.keys(require(specifier)).length === 0);
greet({ id: 't1', contextId: 'c1', text: 'hi' }).then((visits) => console.log(JSON.stringify({ empty, visits })));
`,
  );
  const { code, stdout, stderr } = await run(process.execPath, ['use.cjs'], consumer);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(JSON.parse(stdout)).toEqual({ empty: [], visits: 1 });
});

test('its types compile under strict nodenext', async () => {
  const subpaths = Object.keys(manifest.exports).filter((path) => path !== './package.json');
  const imports = subpaths.map((path, n) => `import * as all${n} from 'agentup${path.slice(1)}';\nexport { all${n} };`);
  await writeFile(
    join(consumer, 'use.ts'),
    `import 'reflect-metadata';
import { type ConversationContext, createAgent, injected, skill, stateful, type Task } from 'agentup';
import { MemoryStorage, type StateStorage } from 'agentup/storage';
${imports.join('\n')}

@skill({ id: 'counter', description: 'Counts' })
class Counter {
  @stateful({ ttl: 60 })
  async handle(_task: Task, context: ConversationContext = injected(), id: string = injected()): Promise<number> {
    return context.incrementVariable(id, 'visits');
  }
}

export const storage: StateStorage = new MemoryStorage();
export const visits: Promise<number> = new Counter().handle({ id: 't1', text: 'hi' });
// @ts-expect-error a task is not a string
export const wrong = new Counter().handle('hi');
export const agent = await createAgent({ state: { backend: 'memory' } }, { skills: [Counter] });
`,
  );
  await writeFile(join(consumer, 'common.cts'), "export { createAgent } from 'agentup';\n");
  const compilerOptions = {
    target: 'es2022',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    experimentalDecorators: true,
    noEmit: true,
    types: ['node'],
    typeRoots: [join(process.cwd(), 'node_modules/@types')],
  };
  await writeFile(
    join(consumer, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['use.ts', 'common.cts'] }),
  );
  const tsc = join(process.cwd(), 'node_modules/typescript/bin/tsc');
  const { code, stdout } = await run(process.execPath, [tsc, '-p', '.'], consumer);
  expect(stdout).toBe('');
  expect(code).toBe(0);
});

test('its command runs there', async () => {
  const help = await run('npx', ['agentup', '--help'], consumer);
  expect(help.code, help.stderr).toBe(0);
  expect(help.stdout).toContain('Usage: agentup');
  const version = await run(join(consumer, 'node_modules/.bin/agentup'), ['--version'], consumer);
  expect(version.stdout.trim()).toBe(manifest.version);
});
