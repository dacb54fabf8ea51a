import assert from 'node:assert/strict';
import type { ErrorCode } from '../errors.js';
import { MAX_ID_LENGTH } from '../storage/keys.js';
import type { Change, CommitOptions } from '../storage/state-storage.js';
import type { Harness } from './harness.js';
import { commit, fails, found, idsOf, logs, sets } from './steps.js';

const LONG = 'x'.repeat(MAX_ID_LENGTH + 1);
const LONE = 'a\ud800';

const BAD_NAMES: readonly [string, ErrorCode][] = [
  ['', 'INVALID_ARGUMENT'],
  [LONE, 'INVALID_ARGUMENT'],
  ['\udc00a', 'INVALID_ARGUMENT'],
  [LONG, 'LIMIT_EXCEEDED'],
  [undefined as unknown as string, 'INVALID_ARGUMENT'],
  [7 as unknown as string, 'INVALID_ARGUMENT'],
];

const BAD_CHANGES: readonly [string, ErrorCode, unknown][] = [
  ...BAD_NAMES.flatMap(([field, code]) =>
    [
      { op: 'set', field, value: '1' },
      { op: 'remove', field },
      { op: 'increment', field, by: 1 },
      { op: 'append', field, item: '1' },
    ].map((change): [string, ErrorCode, unknown] => [`${change.op} of ${shown(field)}`, code, change]),
  ),
  ...[0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1', undefined].map((by): [string, ErrorCode, unknown] => [
    `an increment by ${shown(by)}`,
    'INVALID_ARGUMENT',
    { op: 'increment', field: 'n', by },
  ]),
  ['a value that is no token', 'INVALID_ARGUMENT', { op: 'set', field: 'a', value: undefined }],
  ['an item that is no token', 'INVALID_ARGUMENT', { op: 'append', field: 'list', item: 1 }],
  ['an entry that is no token', 'INVALID_ARGUMENT', { op: 'log', entry: {} }],
  ['an empty owner', 'INVALID_ARGUMENT', { op: 'owner', owner: '' }],
  ['an owner of half a character', 'INVALID_ARGUMENT', { op: 'owner', owner: LONE }],
  ['an owner that is too long', 'LIMIT_EXCEEDED', { op: 'owner', owner: LONG }],
  ['a change that does not exist', 'INVALID_ARGUMENT', { op: 'replace', field: 'a', value: '1' }],
];

const BAD_TTLS: readonly unknown[] = [
  0,
  -1,
  0.5,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  1e15,
  '60',
  null,
  undefined,
];

const BAD_OPTIONS: readonly [string, ErrorCode, CommitOptions][] = [
  ...BAD_TTLS.flatMap((ttl): [string, ErrorCode, CommitOptions][] => [
    [`a ttl of ${shown(ttl)}`, 'TTL_INVALID', { expiry: { set: ttl as number } }],
    [`a renewal of ${shown(ttl)}`, 'TTL_INVALID', { expiry: { renew: ttl as number } }],
  ]),
  ['a negative cap', 'INVALID_ARGUMENT', { logMax: -1 }],
  ['a fractional cap', 'INVALID_ARGUMENT', { logMax: 1.5 }],
  ['a broken field limit', 'INVALID_ARGUMENT', { maxFields: Number.NaN }],
  ['an empty commit id', 'INVALID_ARGUMENT', { commitId: '' }],
];

/** P3, P10, P20: what cannot be done is refused before anything is written. */
export function testRefusals(harness: Harness): void {
  harness.group('bad arguments are refused before the first write (P3, P10, P20)', () => {
    for (const [name, code, change] of BAD_CHANGES) {
      harness.test(name, async ({ storage, key }) => {
        await commit(storage, key(), sets({ a: '1' }));
        const before = await found(storage, key(), 9);
        const changes = [...sets({ a: '2' }), ...logs('1'), change as Change];
        await fails(code, () => storage.commit(key(), changes));
        assert.deepEqual(await found(storage, key(), 9), before);
      });
    }

    for (const [name, code, options] of BAD_OPTIONS) {
      harness.test(name, async ({ storage, key }) => {
        await commit(storage, key(), sets({ a: '1' }), { expiry: { set: 60 } });
        const before = await found(storage, key(), 9);
        await fails(code, () => storage.commit(key(), [...sets({ a: '2' }), ...logs('1')], options));
        await fails(code, () => storage.commit(key('new'), sets({ a: '2' }), options));
        assert.deepEqual(await found(storage, key(), 9), before);
        assert.equal(await storage.read(key('new')), undefined);
      });
    }

    for (const [bad, code] of BAD_NAMES) {
      harness.test(`${shown(bad)} as an id or a scope, by every call`, async ({ storage, key, space }) => {
        for (const one of [{ ...key(), id: bad }, key('id', 's', bad)]) {
          await fails(code, () => storage.begin(one, { token: 'a', leaseMs: 1_000 }));
          await fails(code, () => storage.read(one));
          await fails(code, () => storage.readLog(one));
          await fails(code, () => storage.commit(one, sets({ a: '1' })));
          await fails(code, () => storage.delete(one));
        }
        assert.deepEqual(await idsOf(storage, { space }), []);
      });
    }

    harness.test('a space that is not one', async ({ storage, key }) => {
      for (const space of ['', '..', '../a', 'a/b', 'A', 'a:b', 'é', 'a\0', 'a ']) {
        await fails('INVALID_ARGUMENT', () => storage.commit({ ...key(), space }, sets({ a: '1' })));
        await fails('INVALID_ARGUMENT', () => storage.read({ ...key(), space }));
        await fails('INVALID_ARGUMENT', () => idsOf(storage, { space }));
        await fails('INVALID_ARGUMENT', () => storage.sweep({ space, updatedBefore: 1 }));
      }
    });

    harness.test('a lease of no length or without a token', async ({ storage, key }) => {
      for (const leaseMs of [0, -1, 0.5, Number.NaN, '1000' as unknown as number]) {
        await fails('INVALID_ARGUMENT', () => storage.begin(key(), { token: 'a', leaseMs }));
      }
      await fails('INVALID_ARGUMENT', () => storage.begin(key(), { token: '', leaseMs: 1_000 }));
      await storage.begin(key(), { token: 'a', leaseMs: 60_000 });
      for (const keepMs of [0, -1, 0.5, Number.NaN]) {
        await fails('INVALID_ARGUMENT', () => storage.commit(key(), [], { lease: { token: 'a', keepMs } }));
      }
      await commit(storage, key(), sets({ a: '1' }), { lease: { token: 'a' } });
    });

    harness.test('counts of entries that are none', async ({ storage, key }) => {
      await commit(storage, key(), logs('0', '1'));
      for (const count of [-1, 0.5, Number.NaN, '1' as unknown as number]) {
        await fails('INVALID_ARGUMENT', () => storage.read(key(), { log: count }));
        await fails('INVALID_ARGUMENT', () => storage.readLog(key(), { limit: count }));
        await fails('INVALID_ARGUMENT', () => storage.readLog(key(), { before: count }));
        await fails('INVALID_ARGUMENT', () => storage.begin(key(), { token: 'a', leaseMs: 1_000, log: count }));
      }
      assert.equal((await storage.begin(key(), { token: 'b', leaseMs: 1_000 })).busy, false, 'a lease was taken');
    });
  });
}

function shown(value: unknown): string {
  if (typeof value === 'string' && value.length > 20) return `a text of ${value.length} characters`;
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
