import { strict as assert } from 'node:assert';
import { describe, it } from 'vitest';
import {
  checkId,
  checkSpace,
  containerText,
  decodeName,
  encodeName,
  keyOfText,
  keyRange,
  keyText,
  MAX_ID_LENGTH,
  type RecordKey,
} from '../../src/storage/keys.js';
import { AWKWARD_IDS } from '../../src/testing/scopes.js';

const key = (id: string, ...scope: string[]): RecordKey => ({ space: 'contexts', scope, id });

describe('encodeName', () => {
  const NAMES: readonly [string, string][] = [
    ['abc-09_z', 'abc-09_z'],
    ['A', '%41'],
    ['..', '%2e%2e'],
    ['../../etc/passwd', '%2e%2e%2f%2e%2e%2fetc%2fpasswd'],
    ['user:1', 'user%3a1'],
    ['user_1', 'user_1'],
    ['%41', '%2541'],
    ['*', '%2a'],
    ['a\0b', 'a%00b'],
    ['é', '%c3%a9'],
    ['e\u0301', 'e%cc%81'],
    ['😀', '%f0%9f%98%80'],
    ['~', '%7e'],
    ['', ''],
  ];
  for (const [name, encoded] of NAMES) {
    it(JSON.stringify(name), () => {
      assert.equal(encodeName(name), encoded);
      assert.equal(decodeName(encoded), name);
    });
  }

  it('keeps awkward names apart, also where a file system folds or normalises', () => {
    const folded = AWKWARD_IDS.map((id) => encodeName(id).toLowerCase().normalize('NFKC'));
    assert.equal(new Set(folded).size, AWKWARD_IDS.length);
  });
});

describe('keyText', () => {
  it('is space, scope, id', () => {
    assert.equal(keyText(key('a:b')), 'contexts/:a%3ab');
    assert.equal(keyText(key('Id', 'Tenant', 'u/1')), 'contexts/%54enant/u%2f1/:%49d');
    assert.equal(containerText({ space: 'contexts', scope: ['t', 'u'] }), 'contexts/t/u');
    assert.equal(containerText({ space: 'contexts', scope: [] }), 'contexts');
  });

  it('tells an id from a scope', () => {
    const keys = [key('a'), key('a', 'a'), key('a/a'), key('a/:a'), key(':a'), key('a', ':a'), key('a', 'a', 'a')];
    assert.equal(new Set(keys.map(keyText)).size, keys.length);
  });

  it('is read back by keyOfText', () => {
    for (const id of AWKWARD_IDS) {
      for (const one of [key(id), key(id, id), key(':', id, '/')]) assert.deepEqual(keyOfText(keyText(one)), one);
    }
  });
});

describe('keyRange', () => {
  const ids = [...AWKWARD_IDS, ':', '/', '~'];
  const scopes = [[], ['a'], ['A'], ['a', 'b'], ['a-'], ['a/'], ['~']];
  const keys = ['contexts', 'contexts-a', 'contexts0', 'context'].flatMap((space) =>
    scopes.flatMap((scope) => ids.map((id) => ({ space, scope, id }))),
  );
  const selected = (filter: Parameters<typeof keyRange>[0]) => {
    const { from, to } = keyRange(filter);
    return keys.filter((one) => keyText(one) >= from && keyText(one) < to);
  };

  it('selects a space', () => {
    const wanted = keys.filter(({ space }) => space === 'contexts');
    assert.deepEqual(selected({ space: 'contexts' }), wanted);
    assert.deepEqual(selected({ space: 'contexts', prefix: 'a' }), wanted);
  });

  it('selects a container, and in it the ids with a prefix', () => {
    for (const scope of scopes) {
      for (const prefix of ['', 'a', 'A', 'a/', ':', 'x', '\u{1F600}']) {
        const wanted = keys.filter(
          (one) => one.space === 'contexts' && one.scope === scope && one.id.startsWith(prefix),
        );
        assert.deepEqual(selected({ space: 'contexts', scope, prefix }), wanted);
      }
    }
  });
});

describe('names are checked', () => {
  const BAD: readonly [unknown, string][] = [
    ['', 'INVALID_ARGUMENT'],
    [7, 'INVALID_ARGUMENT'],
    [null, 'INVALID_ARGUMENT'],
    [undefined, 'INVALID_ARGUMENT'],
    [['a'], 'INVALID_ARGUMENT'],
    ['\ud800', 'INVALID_ARGUMENT'],
    ['a\udc00', 'INVALID_ARGUMENT'],
    ['\udc00\ud800', 'INVALID_ARGUMENT'],
    ['😀\ud83d', 'INVALID_ARGUMENT'],
    ['x'.repeat(MAX_ID_LENGTH + 1), 'LIMIT_EXCEEDED'],
  ];
  for (const [id, code] of BAD) {
    it(JSON.stringify(id)?.slice(0, 30) ?? 'undefined', () => {
      assert.throws(
        () => checkId(id, 'userId'),
        (error: { code: string; details: { argument: string } }) =>
          error.code === code && error.details.argument === 'userId',
      );
    });
  }

  it('and good ones pass', () => {
    for (const id of [...AWKWARD_IDS, 'x'.repeat(MAX_ID_LENGTH), '😀\ud83d\ude00']) checkId(id, 'id');
  });

  it('of spaces too', () => {
    for (const space of ['contexts', 'a2a-tasks', '0']) checkSpace(space);
    for (const space of ['', 'A', 'a_b', 'a/b', '..', 'a b', 'é', 7, undefined]) {
      assert.throws(() => checkSpace(space), { code: 'INVALID_ARGUMENT' });
    }
  });
});
