import { DatabaseSync } from '@photostructure/sqlite'; // Node 22.16 and later have the same: 'node:sqlite'
import { AgentUpError, type Clock, type ErrorCode } from 'agentup';
import * as kit from 'agentup/storage';

// NORMAL: what was committed survives the process. FULL: a power cut too, for an fsync with every commit.
const OPEN = `
  PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;
  BEGIN IMMEDIATE;
  CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, key TEXT UNIQUE, space TEXT, attributes TEXT,
    owner AS (attributes -> 'owner'), updatedAt AS (attributes ->> 'updatedAt'),
    expiresAt AS (coalesce(attributes ->> 'expiresAt', 1e15)));
  CREATE INDEX IF NOT EXISTS byOwner ON records (owner, key);
  CREATE INDEX IF NOT EXISTS byAge ON records (space, updatedAt, key);
  CREATE INDEX IF NOT EXISTS byExpiry ON records (expiresAt);
  CREATE TABLE IF NOT EXISTS fields (id INT REFERENCES records ON DELETE CASCADE, name, token, PRIMARY KEY (id, name));
  CREATE TABLE IF NOT EXISTS log (id INT REFERENCES records ON DELETE CASCADE, place, token, PRIMARY KEY (id, place));
  CREATE TABLE IF NOT EXISTS replies (id INT REFERENCES records ON DELETE CASCADE, name, token, PRIMARY KEY (id, name));
  CREATE TABLE IF NOT EXISTS answers (name TEXT PRIMARY KEY, at INTEGER, answer TEXT);
  CREATE TABLE IF NOT EXISTS leases (key TEXT PRIMARY KEY, lease TEXT, until AS (lease ->> 'until'),
    ends AS (max(lease ->> 'until', lease ->> 'nextUntil')));
  CREATE INDEX IF NOT EXISTS byMoment ON answers (at); CREATE INDEX IF NOT EXISTS byEnd ON leases (ends);
  COMMIT`;
const CODES: Record<number, ErrorCode> = { 11: 'RECORD_CORRUPT', 26: 'RECORD_CORRUPT' }; // SQLITE_CORRUPT, NOTADB
for (const code of [5, 10, 13, 14]) CODES[code] = 'STORAGE_UNAVAILABLE'; // SQLITE_BUSY, IOERR, FULL, CANTOPEN

/** Keeps records in one SQLite file, which several processes may share. `ttl` is in seconds. */
export function sqliteStorage(file: string, options: { ttl?: number; clock?: Clock } = {}): kit.StateStorage {
  const db = new DatabaseSync(file, { open: false, timeout: 2_000 });
  const statements = new Map<string, ReturnType<typeof db.prepare>>();
  let [isReady, tries] = [false, 0];

  /** A statement with its values, prepared once. What users name is encoded first: the driver may cut it at NUL. */
  function sql(parts: TemplateStringsArray, ...values: (string | number)[]) {
    const text = parts.join('?');
    const query = statements.get(text) ?? db.prepare(text);
    statements.set(text, query);
    return { get: () => query.get(...values), all: () => query.all(...values), run: () => query.run(...values) };
  }

  const store: kit.EmbeddedStore<kit.StoredRecord & { id: number }> = {
    backend: 'sqlite',
    step(mode, work) {
      try {
        if (!db.isOpen) db.open();
        if (!isReady) db.exec(OPEN);
        isReady = true;
        db.exec(mode === 'write' ? 'BEGIN IMMEDIATE' : 'BEGIN'); // writers wait for each other before they read
        const result = work();
        db.exec('COMMIT');
        return result;
      } catch (error) {
        if (db.isOpen && db.isTransaction) db.exec('ROLLBACK');
        const { errcode, message } = error as { errcode?: number; message: string };
        if (errcode === 5 && !isReady && tries++ < 10_000) return store.step(mode, work); // others make it too: no time-out
        if (errcode === undefined) throw error;
        throw new AgentUpError(CODES[errcode & 0xff] ?? 'STORAGE_FAILED', message, { backend: 'sqlite', cause: error });
      }
    },

    find(text, now) {
      const row = sql`SELECT id, attributes FROM records WHERE key = ${text} AND expiresAt > ${now}`.get();
      if (!row) return undefined;
      const fields = sql`SELECT name, token FROM fields WHERE id = ${row.id}`.all();
      const tokens = new Map(fields.map(({ name, token }) => [kit.decodeName(name), token]));
      return { ...JSON.parse(row.attributes), id: row.id, fields: tokens };
    },
    entries: ({ id }, start, end) =>
      sql`SELECT token FROM log WHERE id = ${id} AND place BETWEEN ${start} AND ${end - 1} ORDER BY place`
        .all()
        .map(({ token }) => token),

    write(key, text, before, { plan, attributes, replies }, idempotency) {
      if (!before) sql`DELETE FROM records WHERE key = ${text}`.run(); // one that has expired, and some of the others
      sql`DELETE FROM records WHERE id IN
        (SELECT id FROM records WHERE expiresAt <= ${attributes.updatedAt} LIMIT 100)`.run();
      const { id } = sql`INSERT INTO records (key, space, attributes)
        VALUES (${text}, ${key.space}, ${JSON.stringify(attributes)})
        ON CONFLICT (key) DO UPDATE SET attributes = excluded.attributes RETURNING id`.get();
      if (plan.clearFields) sql`DELETE FROM fields WHERE id = ${id}`.run();
      for (const [name, token] of plan.fields) {
        if (token === undefined) sql`DELETE FROM fields WHERE id = ${id} AND name = ${kit.encodeName(name)}`.run();
        else sql`INSERT OR REPLACE INTO fields VALUES (${id}, ${kit.encodeName(name)}, ${token})`.run();
      }
      if (plan.clearLog) sql`DELETE FROM log WHERE id = ${id}`.run();
      let place = attributes.logTotal - plan.log.length;
      for (const token of plan.log) sql`INSERT INTO log VALUES (${id}, ${place++}, ${token})`.run();
      sql`DELETE FROM log WHERE id = ${id} AND place < ${attributes.logDropped}`.run();
      if (replies) sql`DELETE FROM replies WHERE id = ${id}`.run();
      const added = replies ?? (idempotency ? [[idempotency.key, idempotency.reply] as const] : []);
      for (const [name, token] of added)
        sql`INSERT INTO replies VALUES (${id}, ${kit.encodeName(name)}, ${token})`.run();
      if (idempotency)
        sql`DELETE FROM replies WHERE id = ${id} AND name NOT IN
          (SELECT name FROM replies WHERE id = ${id} ORDER BY rowid DESC LIMIT ${idempotency.keep})`.run();
    },

    remove: ({ id }) => sql`DELETE FROM records WHERE id = ${id}`.run(),
    reply: ({ id }, key) =>
      sql`SELECT token FROM replies WHERE id = ${id} AND name = ${kit.encodeName(key)}`.get()?.token,
    replies: ({ id }) =>
      sql`SELECT name, token FROM replies WHERE id = ${id} ORDER BY rowid`
        .all()
        .map(({ name, token }) => [kit.decodeName(name), token]),

    lease: (text) => JSON.parse(sql`SELECT lease FROM leases WHERE key = ${text}`.get()?.lease ?? 'null') ?? undefined,
    keepLease(text, lease, now) {
      sql`INSERT OR REPLACE INTO leases VALUES (${text}, ${JSON.stringify(lease)})`.run();
      sql`DELETE FROM leases WHERE ends <= ${now}`.run();
    },
    answer(name, since) {
      const row = sql`SELECT answer FROM answers WHERE name = ${name} AND at > ${since}`.get();
      return row && kit.answerOfText(row.answer);
    },
    keepAnswer(name, answer, now) {
      sql`INSERT OR REPLACE INTO answers VALUES (${name}, ${now}, ${kit.answerText(answer)})`.run();
      sql`DELETE FROM answers WHERE at <= ${now - 60_000}`.run();
    },

    list(query) {
      const { from, to } = kit.keyRange(query);
      const rows =
        query.owner !== undefined
          ? sql`SELECT key, attributes FROM records WHERE owner = ${JSON.stringify(query.owner)}
              AND updatedAt < ${query.updatedBefore ?? 1e15} AND key BETWEEN ${from} AND ${to} ORDER BY key`
          : query.updatedBefore !== undefined
            ? sql`SELECT key, attributes FROM records WHERE space = ${query.space}
                AND updatedAt < ${query.updatedBefore} AND +key BETWEEN ${from} AND ${to} ORDER BY key`
            : sql`SELECT key, attributes FROM records WHERE key BETWEEN ${from} AND ${to} ORDER BY key`;
      return rows.all().map(({ key, attributes }) => {
        const { owner, createdAt, updatedAt, expiresAt } = JSON.parse(attributes);
        return { key: kit.keyOfText(key), owner, createdAt, updatedAt, expiresAt };
      });
    },
    *spaces(name = '') {
      while ((name = sql`SELECT min(space) AS name FROM records WHERE space > ${name}`.get().name)) yield name;
    },
    sweep(query, now) {
      const { from, to } = kit.keyRange(query);
      return sql`DELETE FROM records WHERE space = ${query.space} AND updatedAt < ${query.updatedBefore}
        AND +key BETWEEN ${from} AND ${to} AND expiresAt > ${now}
        AND NOT EXISTS (SELECT * FROM leases WHERE leases.key = records.key AND until > ${now})`.run().changes;
    },
    close() {
      statements.clear();
      if (db.isOpen) db.close();
    },
  };
  return new kit.EmbeddedStorage(store, options);
}
