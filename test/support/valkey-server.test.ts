import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Redis } from 'iovalkey';
import { expect, test } from 'vitest';
import { startValkey, valkeyUrl } from './index.js';

test('the shared server is a real Valkey', async () => {
  const client = new Redis(valkeyUrl());
  expect(await client.info('server')).toContain('valkey_version:');
  client.disconnect();
});

test('a private server has no persistence, ends with stop, and comes back on its port', async () => {
  const first = await startValkey();
  const client = new Redis(first.url);
  expect(await client.config('GET', 'save')).toEqual(['save', '']);
  const [, directory] = (await client.config('GET', 'dir')) as string[];
  client.disconnect();
  await first.stop();
  await first.stop();
  expect(existsSync(directory as string)).toBe(false);
  expect(alive(first.pid)).toBe(false);

  const second = await startValkey(['--port', String(first.port)]);
  expect(second.url).toBe(first.url);
  await second.kill9();
  expect(alive(second.pid)).toBe(false);
  await second.stop();
});

test('a taken port is an error that says so', async () => {
  const server = await startValkey();
  await expect(startValkey(['--port', String(server.port)])).rejects.toThrow(/already in use/i);
  await server.stop();
});

test('the server ends when the process that started it is killed', async () => {
  const module = fileURLToPath(new URL('./valkey-server.ts', import.meta.url));
  const code = `import(${JSON.stringify(module)}).then(async (m) => {
    console.log((await m.startValkey()).pid);
    setInterval(() => {}, 1000);
  })`;
  const holder = spawn(process.execPath, ['--import', 'tsx', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [chunk] = (await once(holder.stdout, 'data')) as [Buffer];
  const pid = Number(chunk.toString());
  expect(alive(pid)).toBe(true);
  holder.kill('SIGKILL');
  await expect.poll(() => alive(pid), { timeout: 5_000 }).toBe(false);
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
