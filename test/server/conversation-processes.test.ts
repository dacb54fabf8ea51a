import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { StateConfigInput } from '../../src/config/index.js';
import { ConversationClient } from '../../src/sync/conversation-client.js';
import { valkeyUrl } from '../support/index.js';
import { startWorker } from '../support/workers.js';

const WRITERS = 3;
const WRITES = 8;
const directory = mkdtempSync(join(tmpdir(), 'agentup-api-processes-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each<StateConfigInput>([
  { backend: 'file', storage_dir: directory },
  { backend: 'valkey', url: valkeyUrl(), key_prefix: `api-processes-${process.pid}:` },
])('the conversation API of two processes, on $backend', (state) => {
  it('lets one write of each state through, whichever process it comes to, and loses none', async () => {
    const servers = [0, 1].map(() => startWorker('test/server/conversation-api.worker.ts', state));
    const urls = await Promise.all(servers.map(async ({ lines }) => String((await lines.next()).value)));
    const clients = urls.map((baseUrl) => new ConversationClient({ baseUrl, apiKey: 'k', subDomain: 'north' }));
    const [first] = clients;
    if (!first) expect.fail('no client');
    const { sessionId } = await first.create({ userId: 'ana' });
    const won = new Map<string, number>();
    let lost = 0;
    const write = async (client: ConversationClient): Promise<void> => {
      for (let done = 0; done < WRITES; ) {
        const { context, etag } = await client.get(sessionId);
        try {
          await client.mergeContext(sessionId, { n: Number(context['n'] ?? 0) + 1 }, { ifMatch: etag });
          won.set(String(etag), (won.get(String(etag)) ?? 0) + 1);
          done++;
        } catch (error) {
          expect(error).toMatchObject({ code: 'CONFLICT', details: { status: 412 } });
          lost++;
        }
      }
    };
    await Promise.all(clients.flatMap((client) => Array.from({ length: WRITERS }, () => write(client))));
    expect((await first.get(sessionId)).context['n']).toBe(2 * WRITERS * WRITES);
    expect([...won.values()]).toEqual(Array(2 * WRITERS * WRITES).fill(1));
    // Otherwise nothing has met.
    expect(lost).toBeGreaterThan(0);
    for (const server of servers) {
      server.process.kill('SIGTERM');
      expect(await server.ended).toBe(0);
    }
  });
});
