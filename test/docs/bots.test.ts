import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LinkedProject, linkedProject } from '../support/linked-project.js';
import { snippetsOf } from '../support/snippets.js';

let project: LinkedProject;
beforeEach(async () => {
  project = await linkedProject();
});
afterEach(() => project.remove());

describe('docs/bots.md', async () => {
  const [telegram, webhook, ...others] = (await snippetsOf('docs/bots.md')).map(({ code }) => code);

  it('has no snippet that is not run here', () => {
    expect(others).toEqual([]);
  });

  it('shows a bot that remembers, and counts an update that comes twice once', async () => {
    const play = `
      bot.botInfo = { id: 1, is_bot: true, first_name: 'b', username: 'b' } as typeof bot.botInfo;
      bot.api.config.use(async (_call, method, payload) => {
        console.log(method, JSON.stringify(payload));
        return { ok: true, result: true } as never;
      });
      const from = { id: 7, is_bot: false, first_name: 'Ada' };
      const chat = { id: 7, type: 'private' as const, first_name: 'Ada' };
      for (const update_id of [1, 2, 2]) {
        await bot.handleUpdate({ update_id, message: { message_id: update_id, date: 1, text: 'hi', chat, from } });
      }
      await agent.close();`;
    await project.write({ 'main.ts': telegram?.replace('await bot.start();', play) ?? '' });
    const { code, stdout, stderr } = await project.compiled('main.ts', { env: { BOT_TOKEN: '1:nobody' } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const said = ['Message 1', 'Message 2', 'Message 2'];
    expect(stdout.trim().split('\n')).toEqual(
      said.map((text) => `sendMessage ${JSON.stringify({ chat_id: 7, text })}`),
    );
    expect(await readdir(join(project.directory, 'conversations/contexts'))).toContain('telegram-7.jsonl');
  });

  it('shows a webhook that counts a redelivered message once, and asks for it again where it failed', async () => {
    const play = `
      server.once('listening', async () => {
        const { port } = server.address() as { port: number };
        const post = async (...messages: unknown[]) => {
          const body = JSON.stringify({ entry: [{ changes: [{ value: { messages } }] }] });
          const headers = { 'Content-Type': 'application/json' };
          console.log((await fetch('http://127.0.0.1:' + port + '/whatsapp', { method: 'POST', headers, body })).status);
        };
        const message = (id: string, body: string) => ({ id, from: '51999', text: { body } });
        await post(message('wamid.1', 'milk'));
        await post(message('wamid.1', 'milk'), message('wamid.2', 'bread'));
        await post();
        await agent.close();
        await post(message('wamid.3', 'tea'));
        server.close();
        server.closeAllConnections();
      });`;
    await project.write({ 'main.ts': `${webhook?.replace('app.listen(3000)', "app.listen(0, '127.0.0.1')")}${play}` });
    const { code, stdout, stderr } = await project.compiled('main.ts');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = ['51999 1 items', '200', '51999 1 items', '51999 2 items', '200', '200', '500'];
    expect(stdout.trim().split('\n')).toEqual(lines);
  });
});
