import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { run } from './run-cli.js';

it('every template type-checks as it stands', async () => {
  const cwd = fileURLToPath(new URL('../../', import.meta.url));
  const ran = await run(
    process.execPath,
    ['node_modules/typescript/bin/tsc', '-p', 'test/cli/tsconfig.templates.json'],
    { cwd },
  );
  expect(ran.stdout).toBe('');
  expect(ran.status).toBe(0);
}, 60_000);
