import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';

/** Runs `program` (JavaScript) through `run` in a process of its own. */
function runner(program: string, options = '{}') {
  const code = `
    import { run } from './scripts/lib/run.mjs';
    process.exitCode = await run(process.execPath, ['-e', ${JSON.stringify(program)}], ${options});`;
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'pipe'] });
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const SLEEPER = 'console.log(process.pid); setInterval(() => {}, 1000);';
const DEAF = `process.on('SIGTERM', () => {}); process.on('SIGINT', () => {}); ${SLEEPER}`;

test.concurrent.each([
  ['SIGTERM', 143, SLEEPER],
  ['SIGINT', 130, SLEEPER],
  ['SIGTERM', 143, DEAF],
  ['SIGINT', 130, DEAF],
] as const)('%s ends the program that runs, and answers %i', async (signal, status, program) => {
  const parent = runner(program);
  const [chunk] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(chunk.toString());
  const closed = once(parent, 'close');
  parent.kill(signal);
  expect(await closed).toEqual([status, null]);
  expect(alive(pid)).toBe(false);
});

test('the exit code is passed on, and quiet output is shown only on failure', async () => {
  for (const [code, shown] of [
    [0, ''],
    [3, 'words'],
  ] as const) {
    const parent = runner(`process.stdout.write('words'); process.exitCode = ${code};`, '{ quiet: true }');
    let output = '';
    for (const stream of [parent.stdout, parent.stderr]) stream.on('data', (chunk) => (output += chunk));
    expect(await once(parent, 'close')).toEqual([code, null]);
    expect(output).toBe(shown);
  }
});
