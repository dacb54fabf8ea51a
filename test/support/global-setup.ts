import { Redis } from 'iovalkey';
import type { TestProject } from 'vitest/node';
import { build } from '../../scripts/build.mjs';
import { compileWorkers } from './compiled-workers.js';
import { startValkey } from './valkey-server.js';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The real Valkey every test file of this run may use, each under a key prefix of its own. */
    valkeyUrl: string;
  }
}

/** What processes of the tests run is built from what is here now. One real Valkey for the run: the one `AGENTUP_TEST_VALKEY_URL` names, or a private one. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env['AGENTUP_TEST_VALKEY_URL'];
  if (given) await ping(given);
  if ((await build()) !== 0) throw new Error('the project does not compile');
  await compileWorkers();
  if (given) {
    project.provide('valkeyUrl', given);
    return undefined;
  }
  const server = await startValkey();
  project.provide('valkeyUrl', server.url);
  return () => server.stop();
}

async function ping(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, connectTimeout: 5_000, retryStrategy: () => null });
  let reason: unknown;
  client.on('error', (error) => {
    reason ??= error;
  });
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    const { message } = (reason ?? error) as Error;
    throw new Error(`the server AGENTUP_TEST_VALKEY_URL names does not answer: ${message}`);
  } finally {
    client.disconnect();
  }
}
