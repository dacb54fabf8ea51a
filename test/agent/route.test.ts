import { describe, expect, it } from 'vitest';
import type { LoadedSkill } from '../../src/agent/load-skill.js';
import { Router } from '../../src/agent/route.js';

function skill(id: string, config: Partial<LoadedSkill['config']> = {}): LoadedSkill {
  return {
    id,
    name: id,
    description: undefined,
    instance: undefined,
    tools: [],
    hooks: undefined,
    declaredId: id,
    handler: { kind: 'stateless', options: {} },
    config: { id, handler: '', keywords: [], patterns: [], priority: 0, tags: [], ...config },
    call: () => id,
  };
}

const weather = skill('weather', { keywords: ['weather', 'C++', 'guten tag'], patterns: ['^rain\\b'] });
const urgent = skill('urgent', { keywords: ['weather'], patterns: ['alarm'], priority: 5 });
const other = skill('other');

describe('the router', () => {
  it.each([
    ['a keyword, in any case', 'How is the WEATHER?', 'weather'],
    ['a keyword with signs in it', 'I write C++.', 'weather'],
    ['a keyword of several words', 'Guten   Tag!', 'weather'],
    ['a pattern', 'rain tomorrow', 'weather'],
    ['whole words only', 'weatherman', 'other'],
    ['whole words only, in every script', 'weatherä', 'other'],
    ['the first skill without conditions where nothing matches', 'hello', 'other'],
  ])('goes by %s', (_, text, expected) => {
    expect(new Router([weather, other], undefined).route(text).id).toBe(expected);
  });

  it('prefers the id asked for, then priority, then the order of the configuration', () => {
    const router = new Router([weather, urgent, other], undefined);
    expect(router.route('weather', 'other').id).toBe('other');
    expect(router.route('weather').id).toBe('urgent');
    expect(new Router([weather, skill('second', { keywords: ['weather'] })], undefined).route('weather').id).toBe(
      'weather',
    );
  });

  it('falls back to the default skill, or the only one', () => {
    expect(new Router([weather, urgent], 'urgent').route('hello').id).toBe('urgent');
    expect(new Router([weather], undefined).route('hello').id).toBe('weather');
  });

  it('says what there is when a skill does not exist, and when none fits', () => {
    const failure = (call: () => unknown) => {
      try {
        call();
      } catch (error) {
        return error as { code: string; details: { fix: string } };
      }
      return expect.fail('nothing was thrown');
    };
    const unknown = failure(() => new Router([weather, urgent], undefined).route('x', 'wether'));
    expect(unknown.code).toBe('SKILL_NOT_FOUND');
    expect(unknown.details.fix).toContain('weather, urgent');
    expect(failure(() => new Router([weather, urgent], undefined).route('hello')).details.fix).toContain(
      'default_skill',
    );
    expect(failure(() => new Router([], undefined).route('hello')).details.fix).toContain('skill create');
  });
});
