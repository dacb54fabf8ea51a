import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** Planted imports: `[file, what it imports]`. */
const FORBIDDEN: readonly (readonly [string, string])[] = [
  ['src/planted.ts', './storage/keys.js'],
  ['src/planted.ts', './config/schema.js'],
  ['src/index.ts', './cli/main.js'],
  ['src/storage/planted.ts', '../conversation/turn.js'],
  ['src/storage/planted.ts', '../config/schema.js'],
  ['src/storage/planted.ts', './memory-storage.js'],
  ['src/storage/planted.ts', './file/file-storage.js'],
  ['src/storage/planted.ts', './valkey/valkey-storage.js'],
  ['src/storage/planted.ts', 'iovalkey'],
  ['src/storage/index.ts', '../skill/skill.js'],
  ['src/storage/open-storage.ts', '../agent/agent.js'],
  ['src/storage/file/planted.ts', '../valkey/valkey-keys.js'],
  ['src/storage/file/planted.ts', '../memory-storage.js'],
  ['src/storage/file/planted.ts', '../../conversation/turn.js'],
  ['src/storage/valkey/planted.ts', '../file/file-storage.js'],
  ['src/storage/valkey/planted.ts', '../open-storage.js'],
  ['src/conversation/planted.ts', '../skill/skill.js'],
  ['src/conversation/planted.ts', '../config/schema.js'],
  ['src/conversation/planted.ts', '../storage/memory-storage.js'],
  ['src/caches/planted.ts', '../conversation/turn.js'],
  ['src/caches/planted.ts', '../storage/valkey/valkey-storage.js'],
  ['src/operations/planted.ts', '../conversation/turn.js'],
  ['src/operations/planted.ts', '../caches/index.js'],
  ['src/operations/planted.ts', '../storage/memory-storage.js'],
  ['src/operations/planted.ts', '../cli/main.js'],
  ['src/storage/planted.ts', '../operations/migrate.js'],
  ['src/agent/planted.ts', '../operations/migrate.js'],
  ['src/skill/planted.ts', '../agent/agent.js'],
  ['src/skill/planted.ts', '../config/schema.js'],
  ['src/skill/planted.ts', '../storage/file/file-storage.js'],
  ['src/config/planted.ts', '../storage/state-storage.js'],
  ['src/config/planted.ts', '../conversation/turn.js'],
  ['src/config/planted.ts', '../skill/skill.js'],
  ['src/config/planted.ts', '../agent/agent.js'],
  ['src/config/planted.ts', '../cli/main.js'],
  ['src/agent/planted.ts', '../cli/main.js'],
  ['src/agent/planted.ts', '../server/planted.js'],
  ['src/agent/planted.ts', '../sync/planted.js'],
  ['src/agent/planted.ts', '../storage/memory-storage.js'],
  ['src/server/planted.ts', '../cli/main.js'],
  ['src/server/planted.ts', '../sync/planted.js'],
  ['src/sync/planted.ts', '../server/planted.js'],
  ['src/conversation-api/planted.ts', '../agent/agent.js'],
  ['src/conversation-api/planted.ts', '../sync/outbox.js'],
  ['src/sync/planted.ts', '../storage/memory-storage.js'],
  ['src/sync/planted.ts', 'express'],
  ['src/sync/conversation-client.ts', 'node:crypto'],
  ['src/sync/conversation-client.ts', '../storage/keys.js'],
  ['src/agent/planted.ts', 'express'],
  ['src/agent/planted.ts', '@a2a-js/sdk/server'],
  ['src/cli/planted.ts', 'express'],
  ['src/index.ts', '@a2a-js/sdk'],
  ['src/server/planted.ts', '../storage/file/file-storage.js'],
  ['src/cli/planted.ts', 'commander'],
  ['src/cli/planted.ts', 'inquirer'],
  ['src/cli/planted.ts', '@inquirer/prompts'],
  ['src/cli/planted.ts', '../storage/valkey/valkey-storage.js'],
  ['src/cli/commands/planted.ts', 'commander'],
  ['src/cli/commands/planted.ts', '../../testing/index.js'],
  ['src/cli/program.ts', 'inquirer'],
  ['src/cli/state-commands.ts', 'inquirer'],
  ['src/cli/define-command.ts', 'inquirer'],
  ['src/cli/prompts.ts', 'commander'],
  ['src/testing/planted.ts', '../storage/memory-storage.js'],
  ['src/testing/planted.ts', '../storage/file/file-storage.js'],
  ['src/testing/planted.ts', '../conversation/turn.js'],
  ['src/agent/planted.ts', 'agentup'],
  ['src/agent/planted.ts', 'agentup/storage'],
];

/** What the same rules must leave alone. */
const ALLOWED: readonly (readonly [string, string])[] = [
  ['src/planted.ts', './errors.js'],
  ['src/index.ts', './storage/file/file-storage.js'],
  ['src/storage/planted.ts', '../errors.js'],
  ['src/storage/planted.ts', './state-storage.js'],
  ['src/storage/index.ts', './memory-storage.js'],
  ['src/storage/open-storage.ts', './valkey/valkey-storage.js'],
  ['src/storage/file/planted.ts', './lock.js'],
  ['src/storage/file/planted.ts', '../state-storage.js'],
  ['src/storage/valkey/planted.ts', 'iovalkey'],
  ['src/conversation/planted.ts', '../storage/state-storage.js'],
  ['src/conversation/planted.ts', '../caches/create-caches.js'],
  ['src/caches/planted.ts', '../storage/state-storage.js'],
  ['src/skill/planted.ts', '../conversation/turn.js'],
  ['src/conversation-api/planted.ts', 'zod'],
  ['src/sync/planted.ts', '../conversation-api/schemas.js'],
  ['src/sync/planted.ts', '../agent/agent.js'],
  ['src/config/planted.ts', '../errors.js'],
  ['src/agent/planted.ts', '../config/schema.js'],
  ['src/agent/planted.ts', '../storage/open-storage.js'],
  ['src/server/planted.ts', '../agent/agent.js'],
  ['src/cli/planted.ts', '../agent/agent.js'],
  ['src/cli/program.ts', 'commander'],
  ['src/cli/state-commands.ts', 'commander'],
  ['src/cli/define-command.ts', 'commander'],
  ['src/cli/prompts.ts', '@inquirer/prompts'],
  ['src/testing/planted.ts', '../storage/state-storage.js'],
];

/** The ways to import, each as one line with names of its own. */
const FORMS = [
  (from: string, n: number) => `import * as i${n} from '${from}';`,
  (from: string, n: number) => `import type { T${n} } from '${from}';`,
  (from: string, n: number) => `export { e${n} } from '${from}';`,
  (from: string, n: number) => `export const d${n} = () => import('${from}');`,
];

const RESTRICTED = 'lint/style/noRestrictedImports';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'agentup-lint-'));
  await cp('biome.json', join(directory, 'biome.json'));
  await writeFile(join(directory, '.gitignore'), 'node_modules\n');
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Lints the files and answers what was found, as `rule file:line`. */
async function lint(files: ReadonlyMap<string, readonly string[]>): Promise<string[]> {
  await rm(join(directory, 'src'), { recursive: true, force: true });
  for (const [file, lines] of files) {
    const path = join(directory, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `${lines.join('\n')}\n`);
  }
  const biome = join(process.cwd(), 'node_modules/@biomejs/biome/bin/biome');
  const args = [biome, 'lint', '--reporter=json', '--max-diagnostics=none', '.'];
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { cwd: directory, maxBuffer: 1 << 26 }, (_error, stdout) => resolve(stdout));
  });
  const { diagnostics } = JSON.parse(output) as { diagnostics: Diagnostic[] };
  return diagnostics.map(({ category, location }) => `${category} ${location.path}:${location.start.line}`);
}

interface Diagnostic {
  readonly category: string;
  readonly location: { readonly path: string; readonly start: { readonly line: number } };
}

test('imports against the directions are reported, the others are not', async () => {
  const files = new Map<string, string[]>();
  const expected: string[] = [];
  for (const [cases, forbidden] of [
    [FORBIDDEN, true],
    [ALLOWED, false],
  ] as const) {
    for (const [file, from] of cases) {
      const lines = files.get(file) ?? [];
      files.set(file, lines);
      for (const form of FORMS) {
        lines.push(form(from, lines.length));
        if (forbidden) expected.push(`${RESTRICTED} ${file}:${lines.length}`);
      }
    }
  }
  const found = (await lint(files)).filter((entry) => entry.startsWith(RESTRICTED));
  expect(found.sort()).toEqual(expected.sort());
});

test('a cycle and a promise left floating are reported', async () => {
  const found = await lint(
    new Map([
      ['src/agent/one.ts', [`import { two } from './two.js';`, `export const one = (): number => two();`]],
      ['src/agent/two.ts', [`import { one } from './one.js';`, `export const two = (): number => one();`]],
      [
        'src/agent/float.ts',
        ['async function work(): Promise<void> {}', 'export function go(): void {', 'work();', '}'],
      ],
    ]),
  );
  expect(found).toContain('lint/suspicious/noImportCycles src/agent/one.ts:1');
  expect(found).toContain('lint/nursery/noFloatingPromises src/agent/float.ts:3');
});
