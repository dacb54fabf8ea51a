import { readFileSync } from 'node:fs';
import { Redis } from 'iovalkey';
import { SCRIPTS_FLOOR } from './floors/names.js';
import type { Opened, Subject } from './subject.js';
import { BLOB, CHANNEL, message, messages, NAME, NEWEST, PREFERENCES } from './turn-data.js';

const SEEDED_AT_ONCE = 1_000;

/**
 * What the storage sends, a transaction and a script with the arguments of the turn, and nothing around it: what a
 * lease, ids and checks cost on the server. What the row of agentup takes above this one is the framework in the client.
 */
export const subjects: readonly Subject[] = [
  {
    name: 'what ours sends, by iovalkey',
    kind: 'valkey',
    floor: SCRIPTS_FLOOR,
    flat: true,
    throughput: true,
    // It takes what a turn meets for granted: that no other process is at it.
    shared: false,
    async open({ url }): Promise<Opened> {
      const client = new Redis(url);
      client.on('error', () => {});
      const load = async (name: string): Promise<string> => {
        const source = readFileSync(new URL(`../src/storage/valkey/lua/${name}.lua`, import.meta.url), 'utf8');
        return (await client.script('LOAD', source)) as string;
      };
      const commit = await load('commit');
      const keyOf = (id: number): string => `own:{contexts/:${id}}`;
      const lasting = ['er', '7200'];
      let tokens = 0;
      return {
        seed: async (id, count) => {
          const known = ['s', 'var:name', JSON.stringify(NAME), 's', 'var:preferences', JSON.stringify(PREFERENCES)];
          await client.evalsha(commit, 1, keyOf(id), '', '0', '', '1', ...lasting, ...known);
          for (let left = count; left > 0; left -= SEEDED_AT_ONCE) {
            const some = messages(Math.min(left, SEEDED_AT_ONCE)).map((one) => JSON.stringify(one));
            await client.evalsha(commit, 1, keyOf(id), '', '0', '', '1', 'l', String(some.length), ...some);
          }
        },
        turn: async (id) => {
          const token = `bench-${(tokens++).toString(36)}`;
          void client.multi({ pipeline: false });
          void client.set(`${keyOf(id)}:lease`, token, 'PX', '30000', 'NX');
          void client.hgetall(keyOf(id));
          void client.lrange(`${keyOf(id)}:log`, `-${NEWEST}`, '-1');
          const [, [, fields], [, log]] = (await client.exec()) as [unknown, [null, Fields], [null, string[]]];
          parsed(fields, log);
          const said = [JSON.stringify(message('user')), JSON.stringify(message('assistant'))];
          const changes = ['i', 'var:visits', '1', 's', 'var:last', JSON.stringify(BLOB)];
          const rest = ['s', 'meta:channel', JSON.stringify(CHANNEL), 'l', '2', ...said];
          const args = [token, '0', '=', '0', ...lasting, ...changes, ...rest];
          const answer = (await client.evalsha(commit, 1, keyOf(id), ...args)) as string;
          return Number(answer.slice(answer.lastIndexOf(' ')));
        },
        look: async (id) => ({
          visits: Number(await client.hget(keyOf(id), 'var:visits')),
          messages: await client.llen(`${keyOf(id)}:log`),
        }),
        close: async () => client.disconnect(),
      };
    },
  },
];

type Fields = Readonly<Record<string, string>>;

/** What the begin brings, parsed as a handler needs it. */
function parsed(fields: Fields, log: readonly string[]): void {
  for (const one of log) JSON.parse(one);
  for (const name of ['var:name', 'var:preferences']) JSON.parse(fields[name] ?? 'null');
}
