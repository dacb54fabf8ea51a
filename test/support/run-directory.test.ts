import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

test('what a run puts into the temporary directory goes with it, also when it is killed', async () => {
  const code = `
    import { mkdtempSync } from 'node:fs';
    import { tmpdir } from 'node:os';
    import { join } from 'node:path';
    import { ownTemporaryDirectory } from ${JSON.stringify(join(import.meta.dirname, 'run-directory.ts'))};
    ownTemporaryDirectory();
    ownTemporaryDirectory();
    console.log(mkdtempSync(join(tmpdir(), 'left-')));
    setInterval(() => {}, 1000);`;
  const run = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    env: { ...process.env, TMPDIR: dirname(tmpdir()) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [chunk] = (await once(run.stdout, 'data')) as [Buffer];
  const left = chunk.toString().trim();
  expect(dirname(dirname(left))).toBe(dirname(tmpdir()));
  expect(existsSync(left)).toBe(true);
  run.kill('SIGKILL');
  await expect.poll(() => existsSync(dirname(left)), { timeout: 5_000 }).toBe(false);
});
