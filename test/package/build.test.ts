import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const SCHEMA = `export const configJsonSchema = () => ({ type: 'object' });\n`;
const ALWAYS = ['agent_config.schema.json', 'config/json-schema.d.ts', 'config/json-schema.js'];

let project: string;

beforeEach(async () => {
  project = await realpath(await mkdtemp(join(tmpdir(), 'agentup-build-')));
  for (const path of ['scripts', 'package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json']) {
    await cp(path, join(project, path), { recursive: true });
  }
  await symlink(join(process.cwd(), 'node_modules'), join(project, 'node_modules'), 'dir');
  await mkdir(join(project, 'src/deep'), { recursive: true });
  await mkdir(join(project, 'src/config'));
  await writeFile(join(project, 'src/config/json-schema.ts'), SCHEMA);
  await writeFile(join(project, 'src/index.ts'), `export { two } from './deep/two.js';\n`);
  await writeFile(join(project, 'src/deep/two.ts'), 'export const two: number = 2;\n');
  await writeFile(join(project, 'src/deep/script.lua'), 'return 1\n');
});

afterEach(() => rm(project, { recursive: true, force: true }));

async function build(): Promise<{ code: number; output: string }> {
  const child: ChildProcess = spawn(process.execPath, ['scripts/build.mjs'], { cwd: project });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk));
  const [code] = (await once(child, 'close')) as [number];
  return { code, output };
}

async function dist(): Promise<string[]> {
  const paths = await readdir(join(project, 'dist'), { recursive: true });
  return paths.filter((path) => /\.\w+$/.test(path)).sort();
}

test('builds the sources with the Lua scripts and the JSON Schema, and does nothing when nothing changed', async () => {
  expect(await build()).toEqual({ code: 0, output: '' });
  expect(await dist()).toEqual([
    ...ALWAYS,
    'deep/script.lua',
    'deep/two.d.ts',
    'deep/two.js',
    'index.d.ts',
    'index.js',
  ]);
  expect(await readFile(join(project, 'dist/agent_config.schema.json'), 'utf8')).toBe('{\n  "type": "object"\n}\n');
  const stamp = await stat(join(project, '.cache/build.json'));
  await build();
  expect((await stat(join(project, '.cache/build.json'))).mtimeMs).toBe(stamp.mtimeMs);
});

test('removes what has no source any more and restores what was touched', async () => {
  await build();
  await rm(join(project, 'src/deep'), { recursive: true });
  await writeFile(join(project, 'src/index.ts'), 'export const one = 1;\n');
  await build();
  expect(await dist()).toEqual([...ALWAYS, 'index.d.ts', 'index.js']);
  expect(existsSync(join(project, 'dist/deep'))).toBe(false);

  await writeFile(join(project, 'dist/index.js'), 'broken');
  await build();
  expect(await readFile(join(project, 'dist/index.js'), 'utf8')).toContain('export const one = 1');
});

test('an error in the sources is reported and leaves the last build as it was', async () => {
  await build();
  await writeFile(join(project, 'src/index.ts'), `export const one: number = 'one';\n`);
  const { code, output } = await build();
  expect(code).not.toBe(0);
  expect(output).toContain('TS2322');
  expect(await readFile(join(project, 'dist/index.js'), 'utf8')).toContain('./deep/two.js');
});

test('builds at the same time do not break each other, nor does the lock of a dead one', async () => {
  await mkdir(join(project, '.cache'));
  const dead = spawn(process.execPath, ['-e', '']);
  await once(dead, 'close');
  await writeFile(join(project, '.cache/build.lock'), String(dead.pid));
  const builds = await Promise.all([build(), build(), build()]);
  expect(builds.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(await dist()).toHaveLength(8);
  expect((await readdir(join(project, '.cache'))).sort()).toEqual(['build.json']);
});
