import { Redis } from 'iovalkey';
import type { Opened, Subject } from '../subject.js';
import { BLOB, CHANNEL, message, messages, NAME, NEWEST, PREFERENCES } from '../turn-data.js';
import { SCRIPTS_FLOOR } from './names.js';

const READ = `local read = {redis.call('HGETALL', KEYS[1]), redis.call('LRANGE', KEYS[2], -${NEWEST}, -1)}`;
const WRITE = `
local visits = redis.call('HINCRBY', KEYS[1], 'visits', 1)
redis.call('HSET', KEYS[1], 'last', ARGV[1], 'channel', ARGV[2])
redis.call('RPUSH', KEYS[2], ARGV[3], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])`;

type Keys = [hash: string, log: string];

/** What the write script stores. */
function values(): string[] {
  return [
    BLOB,
    JSON.stringify(CHANNEL),
    JSON.stringify(message('user')),
    JSON.stringify(message('assistant')),
    '7200000',
  ];
}

/** The client as it comes, with its promises; scripts loaded beforehand, so that a turn sends their digests only. */
function scripts(
  name: string,
  prepare: (load: (lua: string) => Promise<string>, client: Redis) => Promise<(keys: Keys) => Promise<number>>,
): Subject {
  return {
    name,
    kind: 'valkey',
    flat: true,
    throughput: true,
    async open({ url }): Promise<Opened> {
      const client = new Redis(url);
      // What a call meets is that call's error; without a listener the client would print it as well.
      client.on('error', () => {});
      const turn = await prepare(async (lua) => (await client.script('LOAD', lua)) as string, client);
      const keysOf = (id: number): Keys => [`{${name}:${id}}`, `{${name}:${id}}:log`];
      return {
        seed: async (id, count) => {
          const [hash, log] = keysOf(id);
          await client.hset(hash, 'name', JSON.stringify(NAME), 'preferences', JSON.stringify(PREFERENCES));
          for (let left = count; left > 0; left -= 1000) {
            await client.rpush(log, ...messages(Math.min(left, 1000)).map((one) => JSON.stringify(one)));
          }
        },
        turn: (id) => turn(keysOf(id)),
        look: async (id) => {
          const [hash, log] = keysOf(id);
          return { visits: Number(await client.hget(hash, 'visits')), messages: await client.llen(log) };
        },
        close: async () => client.disconnect(),
      };
    },
  };
}

/** What the least read brings, parsed as a handler would need it. */
function parsed([fields, log]: [string[], string[]]): number {
  const named = new Map(fields.flatMap((field, i) => (i % 2 === 0 ? [[field, fields[i + 1] ?? '']] : [])));
  for (const one of log) JSON.parse(one);
  JSON.parse(named.get('name') ?? 'null');
  JSON.parse(named.get('preferences') ?? 'null');
  return log.length;
}

/**
 * The least that reads a snapshot and writes a turn on a server: two scripts that do just that, without lease, ids
 * and checks; and the least that could be thought of, both in one call.
 */
export const subjects = [
  scripts(SCRIPTS_FLOOR, async (load, client) => {
    const read = await load(`${READ}\nreturn read`);
    const write = await load(`${WRITE}\nreturn visits`);
    return async (keys) => {
      parsed((await client.evalsha_ro(read, 2, ...keys)) as [string[], string[]]);
      return (await client.evalsha(write, 2, ...keys, ...values())) as number;
    };
  }),
  scripts('floor: one iovalkey script call for both', async (load, client) => {
    const both = await load(`${READ}\n${WRITE}\nreturn {visits, read[1], read[2]}`);
    return async (keys) => {
      const answer = (await client.evalsha(both, 2, ...keys, ...values())) as [number, string[], string[]];
      parsed([answer[1], answer[2]]);
      return answer[0];
    };
  }),
];
