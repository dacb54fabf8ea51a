import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addSkill, setDefaultSkill, setState, stateAsWritten } from '../../src/config/edit-config.js';
import { type SkillConfigInput, validateConfigText } from '../../src/config/index.js';
import { NASTY_NAMES } from '../cli/nasty-names.js';

const env = { VALKEY_URL: 'valkey://somewhere:1' };

/** Files as people write them. Each has one skill `old`, or none. */
const FILES: Readonly<Record<string, string>> = {
  empty: '',
  'comments only': '# nothing yet\n\n# more\n',
  'no skills': 'agent:\n  name: x # the name\n',
  'no final newline': 'agent:\n  name: x',
  'skills without a value':
    'agent: { name: x }\nskills: # none yet\n  # - id: later\nstate: { backend: file } # here\n',
  'skills null': 'skills: ~ # none\nstate:\n  backend: file\n',
  'skills empty': 'skills: [] # none yet\n\n# about the state\nstate:\n    backend: file   # default\n',
  'skills empty, with a comment inside': 'skills: [\n  # nothing\n]\nagent: {}\n',
  block: [
    '# head',
    'agent:',
    '  name: "x"   # quoted',
    '',
    'skills:   # the skills',
    '  - id: old',
    '    handler: ./old.ts',
    '    # keywords: [later]',
    '',
    '# Where conversations are kept',
    'state: { backend: file, storage_dir: ./states } # one line',
    '# tail',
    '',
  ].join('\n'),
  'block at column 0': 'skills:\n- id: old\n  handler: ./old.ts   \n# after\nstate:\n  backend: memory\n',
  'block, wide and with gaps': [
    'skills:',
    '    -   id: old',
    '        handler: ./old.ts',
    '',
    '    -   id: older   # this too',
    '        handler: ./older.ts',
    '        description: >-',
    '          folded',
    '          text',
    '',
    'state:',
    '    # the backend',
    '    backend: valkey',
    '    # the server',
    '    url: "${VALKEY_URL:valkey://localhost:6379}" # from the environment',
    '    key_prefix: p', // biome-ignore format: one line a line
    '    ttl: 60 # a minute',
    '    history:',
    '        load: 5 # few',
    '',
  ].join('\n'),
  'block ending in a literal':
    'state: {}\nskills:\n  - id: old\n    handler: ./old.ts\n    description: |\n      one\n      two\n',
  'list of flow maps': 'skills:\n  - { id: old, handler: ./old.ts } # c\n  - { id: older, handler: ./older.ts }\n',
  'flow list': 'skills: [ { id: old, handler: ./old.ts } ] # flow\nstate: {backend: file}\n',
  'flow list over lines':
    'skills: [\n  { id: old, handler: ./old.ts }, # a\n  { id: older, handler: ./older.ts }, # b\n]\nstate: {\n  backend: file, # c\n  storage_dir: ./s # d\n}\n',
  'all in flow': '{ agent: { name: x }, skills: [], state: { backend: file } }\n',
  'all in flow, nothing there': '{ agent: { name: x } }\n',
  'document markers': '%YAML 1.2\n---\nagent: { name: x }\n...\n',
  anchors: 'agent: &a { name: x }\nskills:\n  - &old\n    id: old\n    handler: ./old.ts\n',
  'nested dash': 'skills:\n  -\n    id: old\n    handler: ./old.ts\nstate:\n',
};

const entry: SkillConfigInput = {
  id: 'fresh',
  name: 'Fresh',
  handler: './src/skills/fresh.ts',
  keywords: ['new', 'two words'],
  priority: 3,
};

const variants = (text: string): [string, string][] => [
  ['as it is', text],
  ['CRLF', text.replace(/\n/g, '\r\n')],
  ['with a byte order mark', `\uFEFF${text}`],
  ['without its last newline', text.replace(/\n$/, '')],
];
const cases = Object.entries(FILES).flatMap(([name, text]) =>
  variants(text).map(([how, variant]) => [`${name}, ${how}`, variant] as const),
);

/** Every line of `before` is in `after`, in the same order, apart from those that `changed` accepts. */
function expectLinesKept(before: string, after: string, changed: (line: string) => boolean = () => false): void {
  const left = after.split(/\r?\n/);
  for (const line of before.split(/\r?\n/)) {
    if (changed(line) || line.trim() === '') continue;
    const index = left.indexOf(line);
    expect(index, `the line ${JSON.stringify(line)} is gone or moved in\n${after}`).toBeGreaterThanOrEqual(0);
    left.splice(0, index + 1);
  }
}

function expectSameLineEnds(before: string, after: string): void {
  if (before.includes('\r\n')) expect(after).not.toMatch(/[^\r]\n/);
  else expect(after).not.toContain('\r');
  expect(after.startsWith('\uFEFF')).toBe(before.startsWith('\uFEFF'));
}

function errorsOf(text: string): string[] {
  return validateConfigText(text, { env }).findings.map(({ code, message }) => `${code}: ${message}`);
}

describe('addSkill', () => {
  it.each(cases)('adds to a file: %s', (_, text) => {
    const after = addSkill(text, entry);
    expect(errorsOf(after)).toEqual([]);
    const skills = validateConfigText(after, { env }).config?.skills ?? [];
    expect(skills.at(-1)).toMatchObject(entry);
    expect(skills.map(({ id }) => id)).toEqual([
      ...(validateConfigText(text, { env }).config?.skills ?? []).map(({ id }) => id),
      'fresh',
    ]);
    // A list that was written on one line changes on that line.
    expectLinesKept(text, after, (line) => /skills: *(\[|~)|^\uFEFF?\{|^ *\{|^\]/.test(line));
    expectSameLineEnds(text, after);
    for (const comment of text.match(/#[^\r\n]*/g) ?? []) expect(after).toContain(comment.trimEnd());
    expect(addSkill(after, entry)).toBe(after);
    expect(addSkill(after, { ...entry, tags: [] })).toBe(after);
  });

  it('writes one entry below the others, like them', () => {
    expect(addSkill(FILES['block'] ?? '', entry)).toBe(
      [
        '# head',
        'agent:',
        '  name: "x"   # quoted',
        '',
        'skills:   # the skills',
        '  - id: old',
        '    handler: ./old.ts',
        '    # keywords: [later]',
        '  - id: fresh',
        '    name: Fresh',
        '    handler: ./src/skills/fresh.ts',
        '    keywords: [new, "two words"]',
        '    priority: 3',
        '',
        '# Where conversations are kept',
        'state: { backend: file, storage_dir: ./states } # one line',
        '# tail',
        '',
      ].join('\n'),
    );
    expect(addSkill(FILES['block, wide and with gaps'] ?? '', { id: 'b', handler: './b.ts' })).toContain(
      '          text\n\n    -   id: b\n        handler: ./b.ts\n\nstate:',
    );
    expect(addSkill('skills: [] # none\n', { id: 'b', handler: './b.ts' })).toBe(
      'skills: # none\n  - id: b\n    handler: ./b.ts\n',
    );
    expect(addSkill('skills: [{ id: a, handler: ./a.ts }]\n', { id: 'b', handler: './b.ts' })).toBe(
      'skills: [{ id: a, handler: ./a.ts }, { id: b, handler: ./b.ts }]\n',
    );
  });

  it('refuses an id that is there with other settings', () => {
    for (const text of [FILES['block'], FILES['flow list'], FILES['nested dash']] as string[]) {
      expect(() => addSkill(text, { id: 'old', handler: './other.ts' })).toThrow(
        expect.objectContaining({ code: 'FILE_CONFLICT' }),
      );
      expect(addSkill(text, { id: 'old', handler: './old.ts' })).toBe(text);
    }
  });

  it('refuses what it cannot change safely, and what is no entry', () => {
    const refused = (text: string, code: string) =>
      expect(() => addSkill(text, entry), text).toThrow(expect.objectContaining({ code }));
    refused('list: &l []\nskills: *l\n', 'FILE_CONFLICT');
    refused('skills: 5\n', 'FILE_CONFLICT');
    refused('skills:\n\t- x\n', 'CONFIG_INVALID');
    refused('skills: [\n', 'CONFIG_INVALID');
    refused('- a\n', 'CONFIG_INVALID');
    refused('a: 1\n---\nb: 2\n', 'CONFIG_INVALID');
    refused('a: *nowhere\n', 'CONFIG_INVALID');
    expect(() => addSkill('', { id: 'Not An Id', handler: './x.ts' })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    expect(() => addSkill('', { id: 'x' } as SkillConfigInput)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it.each(NASTY_NAMES)('keeps a name as it is: %s', (name) => {
    const text = addSkill(FILES['block'] ?? '', {
      id: 'x',
      name,
      description: name,
      handler: `./${name}.ts`,
      keywords: [name],
      tags: [name],
    });
    expect(errorsOf(text)).toEqual([]);
    const config = validateConfigText(text, { env: {} }).config;
    expect(config?.skills.at(-1)).toMatchObject({
      name,
      description: name,
      handler: `./${name}.ts`,
      keywords: [name],
      tags: [name],
    });
  });

  it('gives any text back, in any file', () => {
    const text = fc
      .oneof(
        fc.string({ unit: 'binary', minLength: 1 }),
        fc.string({ minLength: 1 }),
        fc.constantFrom(
          ...NASTY_NAMES,
          '$${a}',
          '$$${b',
          '${',
          '\u2028',
          '\ud800',
          '\u0085',
          '#',
          '- ',
          '~',
          '1e3',
          '<<',
          '0o7',
        ),
      )
      // The file itself can hold no lost character.
      .filter((candidate) => !candidate.includes('\uFFFD'));
    const skill = fc.record(
      {
        id: fc.stringMatching(/^[a-z][a-z0-9_-]{0,20}$/),
        handler: text,
        name: text,
        description: text,
        keywords: fc.array(text, { maxLength: 3 }),
        priority: fc.integer(),
        tags: fc.array(text, { maxLength: 2 }),
      },
      { requiredKeys: ['id', 'handler'] },
    );
    fc.assert(
      fc.property(fc.constantFrom(...cases.map(([, file]) => file)), skill, (file, added) => {
        fc.pre(!['old', 'older'].includes(added.id));
        const after = addSkill(file, added);
        expect(validateConfigText(after, { env }).config?.skills.at(-1)).toMatchObject(added);
        expect(addSkill(after, added)).toBe(after);
        expectSameLineEnds(file, after);
      }),
      { numRuns: 300 },
    );
  });
});

describe('setState', () => {
  const valkey = {
    backend: 'valkey',
    url: '${VALKEY_URL:valkey://localhost:6379}',
    key_prefix: 'agentup:state:',
  } as const;

  it.each(cases)('changes a file to Valkey, and back: %s', (_, text) => {
    const after = setState(text, { ...valkey, ttl: 7200 });
    expect(errorsOf(after)).toEqual([]);
    expect(validateConfigText(after, { env }).config?.state).toMatchObject({
      backend: 'valkey',
      url: env.VALKEY_URL,
      key_prefix: 'agentup:state:',
      ttl: 7200,
    });
    expect(stateAsWritten(after)).toMatchObject({ ...valkey, ttl: 7200 });
    expectSameLineEnds(text, after);
    for (const comment of text.match(/#[^\r\n]*/g) ?? []) expect(after).toContain(comment.trimEnd());
    expect(setState(after, { ...valkey, ttl: 7200 })).toBe(after);
    const back = setState(after, { backend: 'file', storage_dir: './elsewhere', ttl: 'none' });
    expect(errorsOf(back)).toEqual([]);
    expect(validateConfigText(back, { env }).config?.state).toMatchObject({
      backend: 'file',
      storage_dir: './elsewhere',
      ttl: 'none',
    });
    for (const comment of text.match(/#[^\r\n]*/g) ?? []) expect(back).toContain(comment.trimEnd());
    expect(errorsOf(setState(back, { backend: 'memory' }))).toEqual([]);
  });

  it('writes any text so that it is read back, and changes nothing the second time', () => {
    const text = fc
      .oneof(
        fc.string({ unit: 'binary', minLength: 1 }),
        fc.constantFrom(...NASTY_NAMES, '${A:b: c #d}', '\ud800', '# no comment', "'"),
      )
      .filter((candidate) => !candidate.includes('\uFFFD'));
    const files = cases.map(([, file]) => file);
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        text,
        text,
        fc.integer({ min: 1, max: 1000 }),
        (file, url, key_prefix, ttl) => {
          const state = { backend: 'valkey', url, key_prefix, ttl } as const;
          const after = setState(file, state);
          expect(stateAsWritten(after)).toMatchObject(state);
          expect(setState(after, state)).toBe(after);
          expectSameLineEnds(file, after);
          expect(stateAsWritten(setState(after, { backend: 'file', storage_dir: url }))).toMatchObject({
            backend: 'file',
            storage_dir: url,
            ttl,
          });
        },
      ),
      { numRuns: 200 },
    );
  });

  it('changes only what differs', () => {
    expect(setState(FILES['block'] ?? '', valkey)).toContain(
      'state: { backend: valkey, url: "${VALKEY_URL:valkey://localhost:6379}", key_prefix: "agentup:state:" } # one line\n# tail\n',
    );
    expect(setState(FILES['block, wide and with gaps'] ?? '', { ttl: 61, history: { load: 6 } })).toContain(
      [
        '    url: "${VALKEY_URL:valkey://localhost:6379}" # from the environment',
        '    key_prefix: p',
        '    ttl: 61 # a minute',
        '    history:',
        '        load: 6 # few',
        '',
      ].join('\n'),
    );
    expect(setState(FILES['block, wide and with gaps'] ?? '', { backend: 'file', storage_dir: './s' })).toContain(
      [
        'state:',
        '    # the backend',
        '    backend: file',
        '    # the server',
        '    # from the environment',
        '    ttl: 60 # a minute',
        '    storage_dir: ./s',
        '    history:',
        '        load: 5 # few',
        '',
      ].join('\n'),
    );
    expect(setState('agent: {}\n', valkey)).toBe(
      'agent: {}\n\nstate:\n  backend: valkey\n  url: "${VALKEY_URL:valkey://localhost:6379}"\n  key_prefix: "agentup:state:"\n',
    );
  });

  it('leaves a file alone that says it already, if only by its defaults', () => {
    for (const [, text] of cases.filter(([name]) => /empty|no skills|literal|all in flow/.test(name))) {
      expect(setState(text, { backend: 'file', storage_dir: './conversation_states', ttl: 'none' })).toBe(text);
    }
    expect(setState('state: {}\n', { history: { load: 20 } })).toBe('state: {}\n');
  });

  it('refuses what it cannot change safely', () => {
    const refused = (text: string) =>
      expect(() => setState(text, valkey), text).toThrow(expect.objectContaining({ code: 'FILE_CONFLICT' }));
    refused('base: &b { backend: file }\nstate: *b\n');
    refused('base: &b { storage_dir: x }\nstate:\n  <<: *b\n  backend: file\n');
    refused('state: 5\n');
    refused('state: [a]\n');
  });
});

describe('setDefaultSkill', () => {
  it.each(cases)('sets it in a file: %s', (_, text) => {
    const withSkill = addSkill(text, entry);
    const after = setDefaultSkill(withSkill, 'fresh');
    expect(errorsOf(after)).toEqual([]);
    expect(validateConfigText(after, { env }).config?.agent.default_skill).toBe('fresh');
    expect(setDefaultSkill(after, 'fresh')).toBe(after);
    for (const comment of text.match(/#[^\r\n]*/g) ?? []) expect(after).toContain(comment.trimEnd());
  });

  it('replaces another one and keeps its comment', () => {
    expect(setDefaultSkill('agent:\n  default_skill: a # answers\n', 'b')).toBe(
      'agent:\n  default_skill: b # answers\n',
    );
  });
});
