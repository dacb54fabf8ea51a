import { Redis, type RedisOptions } from 'ioredis';

/** ioredis as it comes. What a call meets is that call's error; without a listener it would be printed as well. */
export function quietRedis(url: string, options: RedisOptions = {}): Redis {
  const client = new Redis(url, options);
  client.on('error', () => {});
  return client;
}
