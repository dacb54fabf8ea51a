import type { ConnectionOptions } from 'node:tls';
import type { Redis } from 'iovalkey';
import type { Logger } from '../../logger.js';
import { replyCode } from './valkey-errors.js';
import type { ValkeyAddress } from './valkey-url.js';

export interface OpenOptions {
  readonly timeoutMs: number;
  readonly tls: ConnectionOptions | undefined;
  readonly logger: Logger;
}

/**
 * A connected client that has proven who it is. It neither connects again nor queues nor resends by itself: a client
 * that does carries over states nobody can check. Its `status` tells whether it is still good.
 */
export async function openClient(address: ValkeyAddress, { timeoutMs, tls, logger }: OpenOptions): Promise<Redis> {
  const { host, port, username, password, database } = address;
  const { Redis: Client } = await import('iovalkey');
  const client = new Client({
    host,
    port,
    family: 0,
    familyFallback: { enabled: false },
    ...(address.tls && { tls: { ...tls } }),
    lazyConnect: true,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    retryStrategy: () => null,
  });
  let trouble: unknown;
  client.on('error', (error) => {
    trouble ??= error;
  });
  try {
    await client.connect();
    // Asked for here and not by the client, which would go on without: as somebody else, or in another database.
    if (password === undefined) {
      // A server that wants a password hangs up on long commands without saying why. This one it answers.
      await client.ping();
    } else {
      await client.call('AUTH', username === undefined ? [password] : [username, password]).catch((error: Error) => {
        if (!/without any password configured/.test(error.message)) throw error;
        logger.warn(`the Valkey server ${address.shown} needs no password, but the url has one`);
      });
    }
    if (database !== 0) await client.select(database);
    return client;
  } catch (error) {
    client.disconnect();
    throw replyCode(error) === undefined ? (trouble ?? error) : error;
  }
}
