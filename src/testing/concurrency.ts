import assert from 'node:assert/strict';
import type { Harness } from './harness.js';
import { commit, found, idsOf, logs } from './steps.js';

const WRITERS = 8;
const ROUNDS = 25;

/** P4: whatever writes at the same time, nothing is lost and nothing happens twice. */
export function testConcurrency(harness: Harness): void {
  harness.group('concurrent writes lose nothing (P4)', () => {
    harness.test('increments', async ({ storage, key, second }) => {
      const instances = [storage, harness.backend.reopen ? await second() : storage];
      const seen: (number | undefined)[] = [];
      await together(async (writer) => {
        const answer = await commit(pick(instances, writer), key(), [{ op: 'increment', field: 'n', by: 1 }]);
        seen.push(answer.incremented.get('n'));
      });
      assert.equal((await found(storage, key())).fields.get('n'), String(WRITERS * ROUNDS));
      assert.equal(new Set(seen).size, WRITERS * ROUNDS, 'two increments were told the same value');
    });

    harness.test('appends and history entries', async ({ storage, key, second }) => {
      const instances = [storage, harness.backend.reopen ? await second() : storage];
      await together(async (writer, round) => {
        const item = JSON.stringify(`${writer}/${round}`);
        await commit(pick(instances, writer), key(), [{ op: 'append', field: 'list', item }, ...logs(item)]);
      });
      const record = await found(storage, key(), WRITERS * ROUNDS);
      const list = JSON.parse(record.fields.get('list') ?? '[]') as string[];
      const log = record.log.map((entry) => JSON.parse(entry) as string);
      assert.deepEqual(list, log, 'one commit has come between the parts of another');
      assert.equal(log.length, WRITERS * ROUNDS);
      assert.equal(new Set(log).size, WRITERS * ROUNDS);
      for (let writer = 0; writer < WRITERS; writer++) {
        const own = log.filter((entry) => entry.startsWith(`${writer}/`));
        assert.deepEqual(
          own,
          Array.from({ length: ROUNDS }, (_, round) => `${writer}/${round}`),
        );
      }
    });

    harness.test('fields of one record by different writers', async ({ storage, key, second }) => {
      const instances = [storage, harness.backend.reopen ? await second() : storage];
      await together(async (writer, round) => {
        await commit(pick(instances, writer), key(), [{ op: 'set', field: `f${writer}`, value: String(round) }]);
      });
      const record = await found(storage, key());
      assert.deepEqual([...record.fields.values()], Array(WRITERS).fill(String(ROUNDS - 1)));
      assert.equal(record.version, WRITERS * ROUNDS);
    });

    harness.test(
      'deleting and sweeping beside commits leaves a record whole, or none',
      async ({ storage, key, space, second }) => {
        const other = harness.backend.reopen ? await second() : storage;
        let writing = true;
        const removing = (async () => {
          for (let round = 0; writing; round++) {
            if (round % 2) await other.delete(key());
            else await other.sweep({ space, updatedBefore: Number.MAX_SAFE_INTEGER });
            await new Promise((resolve) => setTimeout(resolve, 1));
          }
        })();
        const told: number[] = [];
        try {
          for (let round = 0; round < 100; round++) {
            const changes = [
              { op: 'increment', field: 'n', by: 1 } as const,
              ...logs('0'),
              { op: 'owner', owner: 'ann' } as const,
            ];
            const { version, logTotal, incremented } = await commit(storage, key(), changes);
            assert.deepEqual(
              [logTotal, incremented.get('n')],
              [version, version],
              'a record was begun on what was left of another',
            );
            told.push(version);
            if (round % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
          }
        } finally {
          writing = false;
          await removing;
        }
        assert.ok(told.includes(1));
        // What is listed is there, and what is there is listed.
        const { version } = await commit(storage, key(), [...logs('1'), { op: 'owner', owner: 'ann' }]);
        assert.equal((await found(storage, key(), 1)).version, version);
        assert.deepEqual(await idsOf(other, { space, owner: 'ann' }), ['record']);
        await other.delete(key());
        assert.deepEqual(await idsOf(storage, { space }), []);
      },
    );

    harness.test('a reader never sees half of a commit', async ({ storage, key, second }) => {
      const reader = harness.backend.reopen ? await second() : storage;
      let writing = true;
      const writer = (async () => {
        for (let round = 1; round <= 50; round++) {
          const value = String(round);
          await commit(storage, key(), [
            { op: 'set', field: 'a', value },
            ...logs(value),
            { op: 'set', field: 'b', value },
          ]);
        }
        writing = false;
      })();
      while (writing) {
        const record = await reader.read(key(), { log: 1 });
        if (record) {
          const { fields, log, version } = record;
          const parts = [fields.get('a'), fields.get('b'), log[0], String(record.logTotal)];
          assert.deepEqual(parts, Array(4).fill(String(version)));
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      await writer;
    });
  });
}

function pick<T>(from: readonly T[], index: number): T {
  return from[index % from.length] as T;
}

/** Every writer does its rounds one after the other, all writers at once. */
async function together(step: (writer: number, round: number) => Promise<void>): Promise<void> {
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let round = 0; round < ROUNDS; round++) await step(writer, round);
  });
  await Promise.all(writers);
}
