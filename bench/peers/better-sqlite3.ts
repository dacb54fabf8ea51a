import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Subject } from '../subject.js';
import { BLOB, CHANNEL, message, messages, NAME, NEWEST, PREFERENCES } from '../turn-data.js';

const SCHEMA = `
CREATE TABLE variables (conversation INTEGER, name TEXT, value TEXT, PRIMARY KEY (conversation, name)) WITHOUT ROWID;
CREATE TABLE messages (conversation INTEGER, n INTEGER, body TEXT, PRIMARY KEY (conversation, n)) WITHOUT ROWID;`;

/** The least that keeps a conversation in SQLite: prepared statements, one transaction for the whole turn. */
function sqlite(synchronous: 'NORMAL' | 'FULL'): Subject {
  return {
    name: `floor: better-sqlite3, WAL, synchronous=${synchronous}`,
    kind: 'sqlite',
    flat: true,
    shared: true,
    async open({ directory }) {
      const file = join(directory, `floor-${synchronous}.db`);
      const database = new Database(file);
      database.pragma('journal_mode = WAL');
      database.pragma(`synchronous = ${synchronous}`);
      database.exec(SCHEMA.replaceAll('CREATE TABLE', 'CREATE TABLE IF NOT EXISTS'));
      const one = database.prepare('SELECT value FROM variables WHERE conversation = ? AND name = ?').pluck();
      const newest = database.prepare(
        `SELECT n, body FROM messages WHERE conversation = ? ORDER BY n DESC LIMIT ${NEWEST}`,
      );
      const add = database.prepare(
        `INSERT INTO variables VALUES (?, 'visits', 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value`,
      );
      const set = database.prepare('INSERT OR REPLACE INTO variables VALUES (?, ?, ?)');
      const log = database.prepare('INSERT INTO messages VALUES (?, ?, ?)');
      const count = database.prepare('SELECT count(*) FROM messages WHERE conversation = ?').pluck();

      const turn = database.transaction((id: number): number => {
        const read = newest.all(id) as { n: number; body: string }[];
        for (const { body } of read) JSON.parse(body);
        for (const name of ['name', 'preferences']) JSON.parse(one.get(id, name) as string);
        const { value } = add.get(id) as { value: number };
        set.run(id, 'last', BLOB);
        const next = (read[0]?.n ?? -1) + 1;
        log.run(id, next, JSON.stringify(message('user')));
        log.run(id, next + 1, JSON.stringify(message('assistant')));
        set.run(id, 'channel', JSON.stringify(CHANNEL));
        return Number(value);
      });
      return {
        seed: async (id, many) => {
          database.transaction(() => {
            set.run(id, 'name', JSON.stringify(NAME));
            set.run(id, 'preferences', JSON.stringify(PREFERENCES));
            for (const [n, body] of messages(many).entries()) log.run(id, n, JSON.stringify(body));
          })();
        },
        // Immediate: it will write, and must not find out too late that another process does.
        turn: async (id) => turn.immediate(id),
        look: async (id) => ({ visits: Number(one.get(id, 'visits')), messages: count.get(id) as number }),
        close: async () => {
          database.close();
        },
      };
    },
  };
}

export const subjects = [sqlite('NORMAL'), sqlite('FULL')];
