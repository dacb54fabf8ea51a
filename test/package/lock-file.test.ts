import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { missingPlatforms } from '../../scripts/lib/missing-platforms.mjs';

interface Lock {
  readonly packages: Record<string, { version?: string; resolved?: string; dependencies?: Record<string, string> }>;
}

async function json<T>(file: string): Promise<T> {
  return JSON.parse(await readFile(file, 'utf8')) as T;
}

test('the lock file covers every platform; run `node scripts/complete-lock.mjs` when it does not', async () => {
  const { packages } = await json<Lock>('package-lock.json');
  expect(Object.keys(missingPlatforms(packages))).toEqual([]);
});

test('the lock file names no registry', async () => {
  const { packages } = await json<Lock>('package-lock.json');
  expect(Object.values(packages).filter(({ resolved }) => resolved !== undefined)).toEqual([]);
});

test('every dependency is pinned', async () => {
  const { dependencies, devDependencies } = await json<Record<string, Record<string, string>>>('package.json');
  const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
    ([, range]) => !/^\d[\w.-]*$/.test(range),
  );
  expect(loose).toEqual([]);
});

test('what is missing for other platforms is found with what it is for', () => {
  const optionalDependencies = {
    '@s/t-linux-x64-musl': '1.2.3',
    '@s/t-darwin-arm64': '1.2.3',
    'loose-linux-x64': '^1.0.0',
  };
  expect(missingPlatforms({ 'node_modules/t': { dev: true, optionalDependencies } })).toEqual({
    'node_modules/@s/t-linux-x64-musl': {
      version: '1.2.3',
      dev: true,
      optional: true,
      os: ['linux'],
      cpu: ['x64'],
      libc: ['musl'],
    },
    'node_modules/@s/t-darwin-arm64': { version: '1.2.3', dev: true, optional: true, os: ['darwin'], cpu: ['arm64'] },
  });
});
