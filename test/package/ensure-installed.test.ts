import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let project: string;

beforeEach(async () => {
  project = await realpath(await mkdtemp(join(tmpdir(), 'agentup-install-')));
  await cp('scripts', join(project, 'scripts'), { recursive: true });
  for (const name of ['one', 'two']) {
    await mkdir(join(project, name));
    await writeFile(join(project, name, 'package.json'), JSON.stringify({ name, version: '1.0.0' }));
  }
  await depend('one');
});

afterEach(() => rm(project, { recursive: true, force: true }));

/** Makes the project depend on these local packages, in package.json and in the lock file. */
async function depend(...names: string[]): Promise<void> {
  const dependencies = Object.fromEntries(names.map((name) => [name, `file:${name}`]));
  const root = { name: 'project', version: '1.0.0', dependencies };
  const packages: Record<string, unknown> = { '': root };
  for (const name of names) {
    packages[name] = { version: '1.0.0' };
    packages[`node_modules/${name}`] = { resolved: name, link: true };
  }
  await writeFile(join(project, 'package.json'), JSON.stringify(root));
  await writeFile(join(project, 'package-lock.json'), JSON.stringify({ ...root, lockfileVersion: 3, packages }));
}

function ensureInstalled(): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['scripts/ensure-installed.mjs'], { cwd: project }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

test('installs once, and again when the lock file has changed', async () => {
  expect(await ensureInstalled()).toEqual({ code: 0, stdout: 'installing dependencies (npm ci)\n', stderr: '' });
  expect(existsSync(join(project, 'node_modules/one'))).toBe(true);
  expect(await ensureInstalled()).toEqual({ code: 0, stdout: '', stderr: '' });

  await depend('one', 'two');
  expect((await ensureInstalled()).stdout).not.toBe('');
  expect(existsSync(join(project, 'node_modules/two'))).toBe(true);
});

test('at the same time, one of them installs', async () => {
  const all = await Promise.all([ensureInstalled(), ensureInstalled(), ensureInstalled()]);
  expect(all.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(all.filter(({ stdout }) => stdout !== '')).toHaveLength(1);
});

test('what npm says is shown when it fails', async () => {
  await writeFile(join(project, 'package-lock.json'), '{ "lockfileVersion": 3, "packages": {} }');
  const { code, stderr } = await ensureInstalled();
  expect(code).not.toBe(0);
  expect(stderr).toContain('npm error');
});
