import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { json } from 'node:stream/consumers';
import { transformWithEsbuild } from 'vite';
import { expect, it } from 'vitest';
import { ConversationRemote } from '../support/conversation-remote.js';

const ENTRY = resolve(import.meta.dirname, '../../src/sync/conversation-client.ts');
const WORKER = join(import.meta.dirname, 'browser-client.worker.mjs');
/** What a browser has, of what a client might use. */
const WEB = [
  'AbortController',
  'AbortSignal',
  'DOMException',
  'Headers',
  'Request',
  'Response',
  'TextDecoder',
  'TextEncoder',
  'URL',
  'URLSearchParams',
  'clearTimeout',
  'crypto',
  'fetch',
  'setTimeout',
];

interface Graph {
  /** JavaScript, by the file. */
  readonly sources: Record<string, string>;
  /** What each file imports: the file, by the name it uses. */
  readonly imports: Record<string, Record<string, string>>;
}

async function graphOf(file: string, graph: Graph = { sources: {}, imports: {} }): Promise<Graph> {
  if (file in graph.sources) return graph;
  const tsconfigRaw = { compilerOptions: { verbatimModuleSyntax: true } };
  const { code } = await transformWithEsbuild(await readFile(file, 'utf8'), file, { format: 'esm', tsconfigRaw });
  graph.sources[file] = code;
  const names = [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']/g)].map(([, name = '']) => name);
  graph.imports[file] = Object.fromEntries(
    names.map((name) => [
      name,
      name.startsWith('.') ? join(dirname(file), name.replace(/\.js$/, '.ts')) : `not of this package: ${name}`,
    ]),
  );
  for (const found of Object.values(graph.imports[file])) if (found.endsWith('.ts')) await graphOf(found, graph);
  return graph;
}

it('imports nothing of Node or of packages', async () => {
  const { imports } = await graphOf(ENTRY);
  const all = new Set([ENTRY, ...Object.values(imports).flatMap((names) => Object.values(names))]);
  expect([...all].map((file) => basename(file)).sort()).toEqual([
    'check-object.ts',
    'conversation-client.ts',
    'errors.ts',
    'remote-error.ts',
    'retry.ts',
  ]);
});

it('works where there is nothing but what a browser has', async () => {
  await using remote = await new ConversationRemote().start();
  const flags = ['--experimental-vm-modules', '--no-warnings'];
  const child = spawn(process.execPath, [...flags, WORKER], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify({ ...(await graphOf(ENTRY)), entry: ENTRY, globals: WEB, url: remote.url }));
  expect(await json(child.stdout)).toEqual({ said: 'from a browser', missing: 'SYNC_NOT_FOUND' });
});
