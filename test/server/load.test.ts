import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StateConfigInput } from '../../src/config/index.js';
import { a2aClient, say, textIn } from '../support/a2a-client.js';
import { startValkey, type ValkeyServer } from '../support/index.js';
import { serve } from './serving.js';

const CONVERSATIONS = Number(process.env['AGENTUP_LOAD_CONVERSATIONS'] ?? 60);
const MESSAGES = Number(process.env['AGENTUP_LOAD_MESSAGES'] ?? 10);

let valkey: ValkeyServer;
let directory: string;

beforeAll(async () => {
  valkey = await startValkey();
  directory = await mkdtemp(join(tmpdir(), 'agentup-load-'));
});

afterAll(async () => {
  await valkey.stop();
  await rm(directory, { recursive: true, force: true });
});

describe(`${CONVERSATIONS} conversations of ${MESSAGES} messages at once`, () => {
  it.each<[string, () => StateConfigInput]>([
    ['file', () => ({ backend: 'file', storage_dir: join(directory, 'states') })],
    ['valkey', () => ({ backend: 'valkey', url: valkey.url, key_prefix: 'load:' })],
  ])('are all answered, each from its own memory, on %s', { timeout: 120_000 }, async (_, state) => {
    await using serving = await serve({ state: state(), security: { rate_limit: { requests: 0 } } });
    const client = await a2aClient(serving.url);
    const conversation = async (): Promise<string[]> => {
      const texts: string[] = [];
      let contextId: string | undefined;
      for (let n = 0; n < MESSAGES; n++) {
        const reply = await say(client, 'count', contextId === undefined ? {} : { contextId });
        contextId = reply.contextId;
        texts.push(textIn(reply));
      }
      return texts;
    };
    const all = await Promise.all(Array.from({ length: CONVERSATIONS }, conversation));
    const expected = Array.from({ length: MESSAGES }, (_, n) => `${n + 1} nobody`);
    for (const texts of all) expect(texts).toEqual(expected);
    expect(serving.logged).toEqual([]);
  });
});
