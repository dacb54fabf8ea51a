import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { configJsonSchema } from '../../src/config/index.js';

/** An independent reader of the JSON Schema. */
const schema = z.fromJSONSchema(configJsonSchema() as never);
const takes = (value: unknown) => schema.safeParse(value).success;

describe('the JSON Schema', () => {
  it('names the dialect that editors know', () => {
    expect(configJsonSchema()).toMatchObject({
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
      additionalProperties: false,
    });
    expect(JSON.parse(JSON.stringify(configJsonSchema()))).toEqual(configJsonSchema());
  });

  it.each<[string, unknown]>([
    ['nothing', {}],
    ['sections without values', { agent: null, skills: null, state: null }],
    [
      'references to the environment',
      { state: { backend: '${BACKEND}', ttl: '${TTL:3600}', lease: '${LEASE:30}', history: { load: '${N}' } } },
    ],
    [
      'all of a skill',
      { skills: [{ id: 'a', handler: 'x', keywords: ['k'], patterns: ['p'], priority: 1, tags: [] }] },
    ],
    ['a ttl', { state: { ttl: 5 } }],
    ['a durability of files', { state: { durability: 'commit' } }],
    ['a durability of replicas', { state: { cluster: true, durability: { replicas: '${N}' } } }],
    ['no ttl', { state: { ttl: 'none' } }],
    ['services of any kind', { services: { a: { type: 'x', more: 1, config: { url: 'u', more: [] } } } }],
  ])('takes %s', (_, value) => {
    expect(takes(value)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['an unknown key', { agents: {} }],
    ['an unknown key below', { state: { storage: 'file' } }],
    ['an unknown backend', { state: { backend: 'redis' } }],
    ['a durability that is none', { state: { durability: { replica: 1 } } }],
    ['no replicas', { state: { durability: { replicas: 0 } } }],
    ['a cluster in words', { state: { cluster: 'yes' } }],
    ['a ttl of 0', { state: { ttl: 0 } }],
    ['a ttl in quotes', { state: { ttl: '3600' } }],
    ['a skill without a handler', { skills: [{ id: 'a' }] }],
    ['an id that is none', { skills: [{ id: 'A B', handler: 'x' }] }],
    ['a number for a name', { agent: { name: 5 } }],
  ])('refuses %s', (_, value) => {
    expect(takes(value)).toBe(false);
  });

  it('describes every key', () => {
    const bare: string[] = [];
    const visit = (node: unknown, path: string): void => {
      for (const [key, child] of Object.entries((node as { properties?: object }).properties ?? {})) {
        if (typeof (child as { description?: unknown }).description !== 'string') bare.push(`${path}.${key}`);
        visit(child, `${path}.${key}`);
        visit((child as { items?: unknown }).items ?? {}, `${path}.${key}[]`);
        visit((child as { additionalProperties?: unknown }).additionalProperties ?? {}, `${path}.${key}.*`);
      }
    };
    visit(configJsonSchema(), '');
    expect(bare).toEqual([]);
  });
});
