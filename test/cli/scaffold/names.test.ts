import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  classNameFor,
  freeId,
  idFor,
  idProblem,
  nameProblem,
  packageNameFor,
} from '../../../src/cli/scaffold/names.js';
import { NASTY_NAMES } from '../nasty-names.js';

describe('names', () => {
  it.each([
    ['Memory assistant', 'memory_assistant', 'MemoryAssistantSkill'],
    ['Déjà vu!', 'deja_vu', 'DejaVuSkill'],
    ['404 not found', 'skill_404_not_found', 'Skill404NotFoundSkill'],
    ['con', 'con_skill', 'ConSkill'],
    ['class', 'class', 'ClassSkill'],
  ])('makes of %j the id %s and the class %s', (name, id, className) => {
    expect(idFor(name)).toBe(id);
    expect(classNameFor(idFor(name))).toBe(className);
  });

  it('makes different ids for names without Latin letters, the same each time', () => {
    expect(idFor('日本語')).toMatch(/^skill_[0-9a-f]{8}$/);
    expect(idFor('日本語')).toBe(idFor('日本語'));
    expect(idFor('日本語')).not.toBe(idFor('🤖'));
  });

  it('makes a free id of one that is taken, no longer than an id may be', () => {
    expect(freeId('notes', () => false)).toBe('notes');
    expect(freeId('notes', (id) => ['notes', 'notes_2'].includes(id))).toBe('notes_3');
    const long = 'a'.repeat(64);
    expect(freeId(long, (id) => id === long)).toBe(`${'a'.repeat(62)}_2`);
  });

  it('accepts every nasty name, and makes a valid id and class of it', () => {
    for (const name of NASTY_NAMES) {
      expect(nameProblem(name), name).toBeUndefined();
      expect(idProblem(idFor(name)), name).toBeUndefined();
      expect(classNameFor(idFor(name))).toMatch(/^[A-Z][A-Za-z0-9]*Skill$/);
    }
  });

  it('makes a valid id of anything', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (name) => idProblem(idFor(name)) === undefined));
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (name) => /^[a-z0-9][a-z0-9-]*$/.test(packageNameFor(name))));
  });

  it.each([
    ['', 'must not be empty'],
    ['  ', 'must not be empty'],
    ['two\nlines', 'must be one line'],
    ['nul\0', 'must be one line'],
    ['escape \u001b[31m', 'must be one line'],
    ['half \ud800', 'half of a character'],
    ['x'.repeat(101), 'at most 100'],
  ])('refuses the name %j', (name, why) => {
    expect(nameProblem(name)).toContain(why);
  });

  it.each(['', 'Upper', '1st', '../up', 'a b', 'a/b', 'x'.repeat(65), 'nul', 'é', '__proto__'])(
    'refuses the id %j',
    (id) => {
      expect(idProblem(id)).toBeTypeOf('string');
    },
  );
});
