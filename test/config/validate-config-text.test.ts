import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FINDING_CODES, type Finding, validateConfigText } from '../../src/config/index.js';

const env = { TTL: '60', HOST: 'somewhere', EMPTY: '', WORD: 'abc', SECRET_URL: 'valkey://ana:s3cret@h o s t' };
const check = (text: string) => validateConfigText(text, { env });
const codesOf = (text: string) => check(text).findings.map(({ code }) => code);

function only(text: string): Finding {
  const { findings } = check(text);
  expect(findings.map(({ code, message }) => `${code}: ${message}`)).toHaveLength(1);
  return findings[0] as Finding;
}

/** What moves, clears or turns a terminal's line; the joiner of emoji does not. */
const CONTROL = /(?!\u200D)[\p{Cc}\p{Cf}]/u;
const inLines = (...lines: string[]) => `${lines.join('\n')}\n`;

describe('a configuration that is right', () => {
  it('gets its defaults', () => {
    const { config, findings } = check('agent: {}\n');
    expect(findings).toEqual([]);
    expect(config).toEqual({
      agent: { name: 'agent' },
      server: {
        host: '127.0.0.1',
        port: 8000,
        mcp: false,
        proxies: 0,
        body_limit: 1_048_576,
        parts_limit: 100,
        history_limit: 200,
        task_ttl: 604_800,
        push_hosts: [],
        stop_timeout: 10,
      },
      security: {
        auth: 'none',
        allow_anonymous: false,
        api_keys: [],
        context_ids: 'server',
        login_limit: { failures: 30, seconds: 60 },
        rate_limit: { requests: 600, seconds: 60 },
      },
      conversations: { serve: false, api_keys: [], ttl: 86_400, numbers: [] },
      skills: [],
      services: {},
      state: {
        backend: 'file',
        cluster: false,
        storage_dir: './conversation_states',
        durability: 'interval',
        timeout: 2000,
        history: { load: 20 },
        concurrency: 'serial',
        on_unavailable: 'fail',
        dedupe: 32,
        lease: 30,
        wait: 30,
        queue: 100,
      },
      caches: { timeout: 2000, warn_bytes: 65_536 },
    });
  });

  it('keeps everything that is written', () => {
    const text = inLines(
      'agent: { name: x, description: y, version: "1.0", default_skill: a }',
      'skills:',
      '  - { id: a, name: A, description: D, handler: "./a.ts#A", keywords: [hi], patterns: ["^\\\\d+$"], priority: -1, tags: [t] }',
      'services: { cache: { type: valkey, config: { url: "valkey://h", db: 1, more: yes } } }',
      'state: { backend: valkey, url: "valkeys://u@h:1/2", key_prefix: "p:", ttl: none, timeout: 1, history: { load: 0, max: 5 }, concurrency: parallel, on_unavailable: degrade, dedupe: 0, lease: 1, wait: 2 }',
    );
    const { config, findings } = check(text);
    expect(findings).toEqual([]);
    expect(config).toMatchObject({
      agent: { version: '1.0' },
      skills: [{ patterns: ['^\\d+$'], priority: -1, tags: ['t'] }],
      services: { cache: { config: { db: 1, more: 'yes' } } },
      state: { ttl: 'none', history: { load: 0, max: 5 } },
    });
  });

  it.each([
    ['a byte order mark', '\uFEFFstate: { backend: memory }\n'],
    ['CRLF', 'state:\r\n  backend: memory\r\n'],
    ['no newline at the end', 'state: { backend: memory }'],
    ['document markers', '---\nstate: { backend: memory }\n...\n'],
    ['an empty second document', 'state: { backend: memory }\n---\n'],
    ['sections without values', 'state: { backend: memory }\nskills:\nagent:\nservices: ~\n'],
    ['an anchor', 'services: { a: &v { type: x }, b: *v }\nstate: { backend: memory }\n'],
    [
      'a merge key',
      'services: { a: &v { type: x }, b: { <<: *v, type: y }, c: { <<: [*v, { k: 1 }] } }\nstate: { backend: memory }\n',
    ],
    ['a default over lines', 'agent:\n  description: >-\n    one\n    two\nstate: { backend: memory }\n'],
  ])('may have %s', (_, text) => {
    const { findings, config } = check(text);
    expect(findings).toEqual([]);
    expect(config?.state.backend).toBe('memory');
  });

  it('resolves merge keys as YAML does', () => {
    const { config } = check(
      'services:\n  a: &a { type: x, n: 1 }\n  b: &b { type: y, m: 2 }\n  c: { n: 3, <<: [*a, *b] }\n',
    );
    expect(config?.services['c']).toEqual({ type: 'x', n: 3, m: 2 });
  });
});

describe('the environment', () => {
  it('becomes numbers where numbers belong, texts elsewhere', () => {
    const { config, findings } = check(
      inLines(
        'agent: { name: "${TTL}", version: "${VERSION:1.10}" }',
        'state: { backend: "${BACKEND:memory}", ttl: "${TTL:3600}", lease: "${LEASE: 45 }", wait: "${HOST_NONE:1}${TTL_NONE:2}", history: { load: "${LOAD:0}" } }',
      ),
    );
    expect(findings).toEqual([]);
    expect(config).toMatchObject({
      agent: { name: '60', version: '1.10' },
      state: { backend: 'memory', ttl: 60, lease: 45, wait: 12, history: { load: 0 } },
    });
    expect(check('state: { ttl: "${NONE:none}" }').config?.state.ttl).toBe('none');
    expect(check('state:\n  ttl: ${TTL}\n').config?.state.ttl).toBe(60);
  });

  it('does not make a number of a text that was typed as one', () => {
    expect(only('state: { ttl: "3600" }')).toMatchObject({ code: 'TTL_INVALID', fix: 'remove the quotes: 3600' });
    expect(only('state: { lease: "30" }')).toMatchObject({ code: 'WRONG_TYPE', fix: 'remove the quotes: 30' });
    expect(only('skills: [{ id: a, handler: x, priority: "1" }]')).toMatchObject({
      code: 'WRONG_TYPE',
      path: 'skills[0].priority',
    });
  });

  it.each(['${WORD}', '${EMPTY}', '1${WORD}', '${TTL}.5', '-${TTL}', '0${NONE:}'])(
    'is checked like everything else: ttl: %s',
    (ttl) => {
      expect(only(`state: { ttl: "${ttl}" }`)).toMatchObject({ code: 'TTL_INVALID', path: 'state.ttl' });
    },
  );

  it('is complained about each time it is missing, at its place, and only about that', () => {
    const { findings } = check(
      inLines(
        'agent: { name: "${A} and ${B}", default_skill: "${C}" }',
        'skills:',
        '  - id: ${D}',
        '    handler: "${E}"',
        '    patterns: ["${F}"]',
        'services: { x: { type: y, config: { password: "${G}" } } }',
        'state: { backend: "${H}", url: "${I}", ttl: "${J}" }',
      ),
    );
    expect(findings.map(({ code, path, line, column }) => [code, path, line, column])).toEqual([
      ['ENV_UNSET', 'agent.name', 1, 17],
      ['ENV_UNSET', 'agent.name', 1, 26],
      ['ENV_UNSET', 'agent.default_skill', 1, 49],
      ['ENV_UNSET', 'skills[0].id', 3, 9],
      ['ENV_UNSET', 'skills[0].handler', 4, 15],
      ['ENV_UNSET', 'skills[0].patterns[0]', 5, 17],
      ['ENV_UNSET', 'services.x.config.password', 6, 48],
      ['ENV_UNSET', 'state.backend', 7, 20],
      ['ENV_UNSET', 'state.url', 7, 33],
      ['ENV_UNSET', 'state.ttl', 7, 46],
    ]);
  });

  it('is not read in comments and keys', () => {
    expect(codesOf('# ${A}\nstate: { backend: memory } # ${B}\n')).toEqual([]);
    expect(only('"${A}": 1').code).toBe('UNKNOWN_KEY');
  });

  it('is named once where an alias repeats it', () => {
    expect(codesOf('services: { a: &v { type: "${A}" }, b: *v }')).toEqual(['ENV_UNSET']);
  });
});

describe('findings', () => {
  it('come all at once, in the order of the file', () => {
    const { findings, config } = check(
      inLines(
        'agent:',
        '  nam: x',
        '  default_skill: assistent',
        'skills:',
        '  - id: Assistant One',
        '    handler: 5',
        '    patterns: ["(", "ok"]',
        '  - id: assistant',
        '  - id: assistant',
        '    handler: ./a.ts',
        '    keywords: hello',
        '    priority: 1.5',
        'state:',
        '  backend: valkye',
        '  url: ftp://u:s3cret@h',
        '  ttl: 0',
        '  key_prefix: "${PREFIX}"',
        '  ttl: -5',
        '  history: { load: -1, max: 0, more: 1 }',
        'security: { auth: x }',
        'telemetry: {}',
      ),
    );
    expect(config).toBeUndefined();
    expect(findings.map(({ code, path, line, severity }) => [code, path, line, severity])).toEqual([
      ['UNKNOWN_KEY', 'agent.nam', 2, 'error'],
      ['DEFAULT_SKILL_UNKNOWN', 'agent.default_skill', 3, 'error'],
      ['SKILL_ID_INVALID', 'skills[0].id', 5, 'error'],
      ['WRONG_TYPE', 'skills[0].handler', 6, 'error'],
      ['PATTERN_INVALID', 'skills[0].patterns[0]', 7, 'error'],
      ['MISSING_KEY', 'skills[1].handler', 8, 'error'],
      ['SKILL_ID_DUPLICATE', 'skills[2].id', 9, 'error'],
      ['WRONG_TYPE', 'skills[2].keywords', 11, 'error'],
      ['INVALID_VALUE', 'skills[2].priority', 12, 'error'],
      ['BACKEND_UNKNOWN', 'state.backend', 14, 'error'],
      ['URL_INVALID', 'state.url', 15, 'error'],
      ['ENV_UNSET', 'state.key_prefix', 17, 'error'],
      ['DUPLICATE_KEY', 'state.ttl', 18, 'error'],
      ['TTL_INVALID', 'state.ttl', 18, 'error'],
      ['INVALID_VALUE', 'state.history.load', 19, 'error'],
      ['INVALID_VALUE', 'state.history.max', 19, 'error'],
      ['UNKNOWN_KEY', 'state.history.more', 19, 'error'],
      ['INVALID_VALUE', 'security.auth', 20, 'error'],
      ['UNKNOWN_KEY', 'telemetry', 21, 'error'],
    ]);
    for (const finding of findings) {
      expect(finding.severity).toBe(FINDING_CODES[finding.code][0]);
      expect(finding.frame).toMatch(new RegExp(`^> +${finding.line} \\| `, 'm'));
      expect(finding.fix, finding.message).toBeTypeOf('string');
    }
    expect(JSON.stringify(findings)).not.toContain('s3cret');
  });

  it('point at the place, with lines around and carets', () => {
    expect(only('agent:\n  name: x\nstate:\n  backend: valky # here\n  ttl: 60\n\nskills: []\n')).toEqual({
      code: 'BACKEND_UNKNOWN',
      severity: 'error',
      path: 'state.backend',
      line: 4,
      column: 12,
      message: 'state.backend must be one of memory, file, valkey, not the text "valky"',
      fix: 'did you mean `valkey`?',
      frame: [
        '  2 |   name: x',
        '  3 | state:',
        '> 4 |   backend: valky # here',
        '    |            ^^^^^',
        '  5 |   ttl: 60',
        '  6 |',
      ].join('\n'),
    });
  });

  it('count lines and columns alike in files with CRLF, a byte order mark, tabs and wide characters', () => {
    const text = 'agent: { name: x }\nstate:\n  backend: valky\n';
    for (const variant of [text, text.replace(/\n/g, '\r\n'), `\uFEFF${text}`]) {
      expect(only(variant)).toMatchObject({ line: 3, column: 12 });
      expect(only(variant).frame).not.toContain('\r');
    }
    expect(only('agent: { name: "日本🚀", nam: 1 }\n').frame).toBe(
      '> 1 | agent: { name: "日本🚀", nam: 1 }\n    |                          ^^^',
    );
    expect(only('agent: {\tname: x,\tnam: 1 }\n').frame).toBe(
      '> 1 | agent: {→name: x,→nam: 1 }\n    |                   ^^^',
    );
  });

  it('show no more of a long line than fits, and nothing that moves the terminal', () => {
    const { frame } = only(`agent: { name: "${'x'.repeat(500)}", nam: 1, description: "${'y'.repeat(500)}" }\n`);
    for (const line of frame.split('\n')) expect(line.length).toBeLessThanOrEqual(107);
    const [shown = '', carets = ''] = frame.split('\n');
    expect(shown.slice(carets.indexOf('^'), carets.lastIndexOf('^') + 1)).toBe('nam');
    const nasty = check('agent: { nam: "\u001b[31m\u202E\u0007" }\n')
      .findings.map(({ frame: text }) => text)
      .join();
    expect(nasty).toMatch(/nam/);
    expect(nasty.replaceAll('\n', '')).not.toMatch(CONTROL);
  });
});

it('a file on one line costs no more for it, however much is wrong in it', () => {
  const skills = Array.from({ length: 4_000 }, (_, i) => `{ id: s${i}, handlr: ./a.ts }`);
  const timed = (between: string): number => {
    const text = `agent: { name: x }\nskills: [${between}${skills.join(`,${between}`)} ]\n`;
    const start = performance.now();
    expect(check(text).findings).toHaveLength(8_000);
    return performance.now() - start;
  };
  timed('\n  ');
  // It was twenty times as long.
  expect(timed(' ')).toBeLessThan(5 * timed('\n  '));
});

describe('YAML that is none', () => {
  it.each([
    ['an empty file', '', 'EMPTY_FILE', 1],
    ['white space', ' \n\n', 'EMPTY_FILE', 1],
    ['comments only', '# one\n# two\n', 'EMPTY_FILE', 1],
    ['only a document marker', '---\n', 'EMPTY_FILE', 1],
    ['a tab as indentation', 'state:\n\tbackend: file\n', 'TAB_INDENT', 2],
    ['a list', '- a\n', 'WRONG_TYPE', 1],
    ['a text', 'hello', 'WRONG_TYPE', 1],
    ['two documents', 'agent: {}\n---\nagent: {}\n', 'MULTIPLE_DOCUMENTS', 3],
    ['a quote that is not closed', 'agent:\n  name: "x\n', 'YAML_SYNTAX', 2],
    ['a bracket that is not closed', 'agent: { name: x\n', 'YAML_SYNTAX', 2],
    ['two colons', 'agent: name: x\n', 'YAML_SYNTAX', 1],
    ['an at sign', 'agent:\n  name: @x\n', 'YAML_SYNTAX', 2],
    ['wrong indentation', 'agent:\n    name: x\n  version: "1"\n', 'YAML_SYNTAX', 3],
    ['a reference in a flow map', 'state: { url: ${URL:x} }\n', 'YAML_SYNTAX', 1],
    ['an alias without an anchor', 'agent: *nowhere\n', 'YAML_ALIAS', 1],
    ['an alias inside of its anchor', 'services: &s { x: *s }\n', 'YAML_ALIAS', 1],
    ['a merge of something else', 'agent: { <<: 5 }\n', 'YAML_ALIAS', 1],
    ['a tag', 'agent: { name: !env NAME }\n', 'YAML_TAG', 1],
    ['a binary tag', 'agent: { name: !!binary aGk= }\n', 'YAML_TAG', 1],
    ['a key that is a list', '? [a]\n: 1\n', 'YAML_SYNTAX', 1],
    ['what decoding has lost', 'agent:\n  name: caf\uFFFD\n', 'NOT_UTF8', 2],
    ['UTF-16', '\uFFFD\uFFFDa\0g\0', 'NOT_UTF8', 1],
  ])('is found: %s', (_, text, code, line) => {
    const { findings, config } = check(text);
    expect(config).toBeUndefined();
    expect(findings.map((finding) => [finding.code, finding.line])).toContainEqual([code, line]);
    expect(findings.find((finding) => finding.code === code)?.fix).toBeTypeOf('string');
  });

  it('is reported with several mistakes, and with what is wrong in the sections before', () => {
    const { findings } = check(
      inLines(
        'agent:',
        '  nam: x',
        'state:',
        '  ttl: 0',
        '  backend: "${MISSING}"',
        'skills:',
        '  - id: @one',
        '    handler: b: c',
        '',
        '  - id: "Two"',
        '\t  handler: x',
      ),
    );
    expect(findings.map(({ code, line }) => [code, line])).toEqual([
      ['UNKNOWN_KEY', 2],
      ['TTL_INVALID', 4],
      ['ENV_UNSET', 5],
      ['YAML_SYNTAX', 7],
      ['YAML_SYNTAX', 8],
      ['TAB_INDENT', 11],
    ]);
  });

  it('names both lines of a key that is given twice, and its path', () => {
    expect(only('services:\n  a:\n    type: x\n  "a":\n    type: y\n')).toMatchObject({
      code: 'DUPLICATE_KEY',
      path: 'services.a',
      line: 4,
      column: 3,
      message: 'the key "a" is given twice; first in line 2',
    });
    expect(codesOf('agent: {}\nagent: {}\nstate: { ttl: 0 }\n')).toEqual(['DUPLICATE_KEY', 'TTL_INVALID']);
    expect(check('skills:\n  - { id: a, handler: x }\n  - { id: b, handler: x, id: c }\n').findings).toMatchObject([
      { path: 'skills[1].id' },
    ]);
  });

  it('cannot blow up: aliases of aliases, depth', () => {
    const bomb = ['services:', '  a0: &a0 { type: x }'];
    for (let level = 1; level < 30; level++)
      bomb.push(`  a${level}: &a${level} { type: x, l: [${`*a${level - 1}, `.repeat(9)}] }`);
    for (const text of [
      inLines(...bomb),
      '['.repeat(50_000),
      `a: ${'{a: '.repeat(5000)}`,
      `${'- '.repeat(20_000)}x`,
      'a: &a {<<: [*a, *a, *a, *a]}\n',
    ]) {
      const started = performance.now();
      const { findings } = check(text);
      expect(findings.length).toBeGreaterThan(0);
      expect(findings.length).toBeLessThan(200);
      expect(performance.now() - started).toBeLessThan(5000);
    }
  });
});

it.each([
  ['redis', 'use `valkey`, which speaks with Redis 7 too'],
  ['disk', 'use `file`'],
])('a backend called %s is called otherwise here', (backend, fix) => {
  expect(only(`state: { backend: ${backend} }`)).toMatchObject({ code: 'BACKEND_UNKNOWN', fix });
});

describe('unknown keys', () => {
  it.each([
    ['agents: {}', 'did you mean `agent`?'],
    ['state_management: {}', 'did you mean `state`?'],
    ['state: { keyPrefix: x }', 'did you mean `key_prefix`?'],
    ['state: { prefix: x }', 'did you mean `key_prefix`?'],
    ['state: { storagedir: x }', 'did you mean `storage_dir`?'],
    ['state: { storage: file }', 'did you mean `backend`?'],
    ['state: { uri: x }', 'did you mean `url`?'],
    [
      'state: { password: x }',
      'write it in `url`: valkey://user:password@host:6379/0, each part but the host only where it is needed',
    ],
    [
      'state: { backend: valkey, url: "valkey://h", key_prefix: "a:", port: 1 }',
      'write it in `url`: valkey://user:password@host:6379/0, each part but the host only where it is needed',
    ],
    ['state: { path: x }', 'did you mean `storage_dir`?'],
    ['state: { maxAge: 5 }', 'did you mean `ttl`?'],
    ['state: { name: x }', '`name` belongs under `agent`'],
    ['backend: file', '`backend` belongs under `state`'],
    [
      'state: { zzz: 1 }',
      'its keys are backend, url, cluster, key_prefix, ttl, storage_dir, durability, timeout, encryption, history, concurrency, on_unavailable, dedupe, lease, wait, queue',
    ],
    ['skills: [{ id: a, handler: x, keyword: [y] }]', 'did you mean `keywords`?'],
    ['agent: { __proto__: { name: x } }', 'its keys are name, description, version, default_skill'],
  ])('%s', (text, fix) => {
    expect(only(text)).toMatchObject({ code: 'UNKNOWN_KEY', fix });
  });

  it('may be anything in services', () => {
    expect(codesOf('services: { a: { type: x, y: 1, config: { z: [1] } } }')).toEqual([]);
  });
});

describe('values', () => {
  it.each([
    ['agent: 5', 'WRONG_TYPE', 'agent'],
    ['agent: [a]', 'WRONG_TYPE', 'agent'],
    ['agent: { name: 5 }', 'WRONG_TYPE', 'agent.name'],
    ['agent: { name: "" }', 'INVALID_VALUE', 'agent.name'],
    ['agent: { name: }', 'WRONG_TYPE', 'agent.name'],
    ['agent: { version: 1.0 }', 'WRONG_TYPE', 'agent.version'],
    ['agent: { name: yes, version: true }', 'WRONG_TYPE', 'agent.version'],
    ['skills: { id: a }', 'WRONG_TYPE', 'skills'],
    ['skills: [a]', 'WRONG_TYPE', 'skills[0]'],
    ['skills: [{ handler: x }]', 'MISSING_KEY', 'skills[0].id'],
    ['skills: [{ id: a, handler: x, keywords: [""] }]', 'INVALID_VALUE', 'skills[0].keywords[0]'],
    ['skills: [{ id: a, handler: x, keywords: [5] }]', 'WRONG_TYPE', 'skills[0].keywords[0]'],
    ['skills: [{ id: a, handler: x, patterns: [""] }]', 'INVALID_VALUE', 'skills[0].patterns[0]'],
    ['services: { a: {} }', 'MISSING_KEY', 'services.a.type'],
    ['services: { a: { type: x, config: { db: -1 } } }', 'INVALID_VALUE', 'services.a.config.db'],
    ['services: []', 'WRONG_TYPE', 'services'],
    ['state: { timeout: 0 }', 'INVALID_VALUE', 'state.timeout'],
    ['state: { timeout: 9999999 }', 'INVALID_VALUE', 'state.timeout'],
    ['state: { history: 5 }', 'WRONG_TYPE', 'state.history'],
    ['state: { history: { load: .inf } }', 'INVALID_VALUE', 'state.history.load'],
    ['state: { concurrency: serail }', 'INVALID_VALUE', 'state.concurrency'],
    ['state: { on_unavailable: [fail] }', 'WRONG_TYPE', 'state.on_unavailable'],
    ['state: { durability: 1 }', 'WRONG_TYPE', 'state.durability'],
    ['state: { backend: valkey, url: "valkey://h", key_prefix: "a{}" }', 'INVALID_VALUE', 'state.key_prefix'],
    ['security: 5', 'WRONG_TYPE', 'security'],
    ['security: { auth: token }', 'INVALID_VALUE', 'security.auth'],
    ['security: { auth: api_key }', 'AUTH_INCOMPLETE', 'security.auth'],
    ['security: { auth: bearer }', 'AUTH_INCOMPLETE', 'security.auth'],
    ['security: { auth: bearer, bearer: {} }', 'AUTH_INCOMPLETE', 'security.bearer'],
    ['security: { api_keys: [{ user: a }] }', 'AUTH_INCOMPLETE', 'security.api_keys[0]'],
    ['security: { api_keys: [{ key_sha256: 12ab, user: a }] }', 'INVALID_VALUE', 'security.api_keys[0].key_sha256'],
    ['security: { bearer: { secret: "${SHORT:too short}" } }', 'INVALID_VALUE', 'security.bearer.secret'],
    ['security: { bearer: { jwks_url: "file:///etc" } }', 'INVALID_VALUE', 'security.bearer.jwks_url'],
    ['conversations: { serve: true }', 'AUTH_INCOMPLETE', 'conversations.serve'],
    ['conversations: { api_keys: [{ sub_domains: [a] }] }', 'AUTH_INCOMPLETE', 'conversations.api_keys[0]'],
    ['conversations: { numbers: [{ phone: x, sub_domain: a }] }', 'INVALID_VALUE', 'conversations.numbers[0].phone'],
    ['server: { port: 70000 }', 'INVALID_VALUE', 'server.port'],
    ['server: { url: "localhost:80" }', 'INVALID_VALUE', 'server.url'],
    ['server: { task_ttl: 0 }', 'INVALID_VALUE', 'server.task_ttl'],
  ])('%s', (text, code, path) => {
    const found = check(text).findings.filter(({ severity }) => severity === 'error');
    expect(found).toMatchObject([{ code, path }]);
  });

  it.each([
    ['state: file', 'write `state: { backend: file }`'],
    ['state: valky', 'write `state: { backend: valkey }`'],
    ['state: 5', expect.stringMatching(/^write a map; its keys are backend, url, /)],
    ['security: apikey', 'write `security: { auth: api_key }`'],
    ['agent: My bot', 'write `agent: { name: "My bot" }`'],
    ['skills: { one: ./one.ts }', 'write a list of maps, each one beginning with `- id:`'],
    ['skills: [./one.ts]', 'write a map: { id: my_skill, handler: ./src/skills/my_skill.ts }'],
    ['skills: [{ id: a, handler: x, keywords: hi }]', 'write a list: [one, two]'],
    ['agent: { name: "" }', 'give it a value that is not empty'],
    ['state: { storage_dir: ~/states }', 'write `"${HOME}/states"`, or the whole path'],
  ])('%s is told what to write', (text, fix) => {
    const found = check(text).findings.filter(({ severity }) => severity === 'error');
    expect(found).toMatchObject([{ fix }]);
  });

  it.each(['0', '-1', '1.5', '.nan', '.inf', '"60"', '60s', 'never', 'true', '[60]', '99999999999999', '~', '""'])(
    'ttl: %s is refused',
    (ttl) => {
      expect(only(`state: { ttl: ${ttl} }`)).toMatchObject({ code: 'TTL_INVALID', path: 'state.ttl' });
    },
  );

  it.each([
    ['2h', 'write it in seconds: 7200'],
    ['30 min', 'write it in seconds: 1800'],
    ['0', 'write `none` to keep conversations for ever'],
    ['nonee', 'did you mean `none`?'],
  ])('ttl: %s: %s', (ttl, fix) => {
    expect(only(`state: { ttl: ${ttl} }`).fix).toBe(fix);
  });

  it('are shown as they are written where quotes are missing', () => {
    expect(only('agent: { version: 1.10 }').fix).toBe('put it in quotes: "1.10"');
  });

  it.each([
    ['Memory Assistant!', 'write `memory_assistant`'],
    ['MemoryAssistant', 'write `memory_assistant`'],
    ['Déjà vu', 'write `deja_vu`'],
    ['9lives', 'write `skill_9lives`'],
    ['../x', 'write `x`'],
    ['a'.repeat(65), `write \`${'a'.repeat(64)}\``],
    ['日本', 'give it an id such as `my_skill`'],
  ])('skill id %s', (id, fix) => {
    expect(only(`skills: [{ id: ${JSON.stringify(id)}, handler: x }]`)).toMatchObject({
      code: 'SKILL_ID_INVALID',
      fix,
    });
  });

  it('point at the second of two equal ids, and offer a free one', () => {
    const skills = ['a', 'a_2', 'a'].map((id) => `{ id: ${id}, handler: x }`).join(', ');
    expect(only(`skills: [${skills}]`)).toMatchObject({
      code: 'SKILL_ID_DUPLICATE',
      path: 'skills[2].id',
      fix: 'write another id, for example `a_3`',
    });
  });

  it.each(['(', '[', '*', 'a{2,1}', '(?<n>a)(?<n>b)', '\\\\q', '{'])('the pattern %s does not compile', (pattern) => {
    const finding = only(`skills: [{ id: a, handler: x, patterns: [ok, "${pattern}"] }]`);
    expect(finding).toMatchObject({ code: 'PATTERN_INVALID', path: 'skills[0].patterns[1]' });
    expect(finding.message).toMatch(/is not a regular expression: \w.+$/);
  });

  it('must name a skill as the default', () => {
    expect(only('agent: { default_skill: memry }\nskills: [{ id: memory, handler: x }]').fix).toBe(
      'did you mean `memory`?',
    );
    expect(only('agent: { default_skill: x }').fix).toContain('add the skill');
    expect(codesOf('agent: { default_skill: "${A:memory}" }\nskills: [{ id: memory, handler: x }]')).toEqual([]);
  });
});

describe('the backend', () => {
  it('valkey needs a url and a prefix', () => {
    expect(check('state: { backend: valkey }').findings).toMatchObject([
      { code: 'URL_MISSING', path: 'state.url', column: 19 },
      { code: 'KEY_PREFIX_MISSING', path: 'state.key_prefix' },
    ]);
    expect(only('state: { backend: valkey, url: "valkey://h" }').code).toBe('KEY_PREFIX_MISSING');
    expect(only('state: { backend: valkey, key_prefix: p }').code).toBe('URL_MISSING');
    expect(codesOf('state: { backend: "${B:valkey}" }')).toEqual(['URL_MISSING', 'KEY_PREFIX_MISSING']);
  });

  it('is never helped out by a service', () => {
    for (const service of ['valkey: { type: x', 'cache: { type: valkey']) {
      const { findings } = check(
        `services: { ${service}, config: { url: "valkey://h" } } }\nstate: { backend: valkey, key_prefix: p }\n`,
      );
      expect(findings).toMatchObject([{ code: 'URL_MISSING' }]);
      expect(findings[0]?.message).toContain('never stands in');
    }
  });

  it.each([
    'localhost:6379',
    'localhost',
    'http://localhost:6379',
    'valky://localhost',
    'valkey:localhost',
    'valkey://',
    'valkey://:6379',
    'valkey://host:port',
    'valkey://host:99999',
    'valkey://a b',
    'valkey://host/path',
    'valkey://host/1?x=1',
    'valkey://host#1',
    'valkey://u:p%zz@host',
    'valkey://a:1,b:2',
    'redis+cluster://host',
  ])('refuses the url %s', (url) => {
    expect(only(`state: { backend: valkey, url: "${url}", key_prefix: p }`)).toMatchObject({
      code: 'URL_INVALID',
      path: 'state.url',
    });
  });

  it.each([
    'valkey://host',
    'valkeys://host:1',
    'redis://u:p@host/0',
    'rediss://:p@[::1]:6379/15',
    'VALKEY://host/',
    'valkey://10.0.0.1',
  ])('takes the url %s', (url) => {
    const text = 'state: { backend: valkey, url: "${URL}", key_prefix: p }';
    expect(validateConfigText(text, { env: { URL: url } }).findings).toEqual([]);
  });

  it('offers the scheme that was meant', () => {
    expect(only('state: { backend: valkey, url: "valky://h", key_prefix: p }').fix).toBe('did you mean `valkey://`?');
    expect(only('state: { backend: valkey, url: "host:1", key_prefix: p }').fix).toContain('write valkey:// before it');
  });

  it.each([
    [
      'memory',
      'url: "valkey://h", key_prefix: p, cluster: true, timeout: 5, storage_dir: x, durability: never',
      ['url', 'key_prefix', 'cluster', 'timeout', 'storage_dir', 'durability'],
    ],
    ['memory', 'durability: { replicas: 1 }', ['durability']],
    ['file', 'url: bad, key_prefix: p, cluster: false, timeout: 5', ['url', 'key_prefix', 'cluster', 'timeout']],
    ['valkey', 'url: "valkey://h", key_prefix: p, storage_dir: x', ['storage_dir']],
  ])('%s warns of options that belong to another', (backend, options, unused) => {
    const { findings, config } = check(`state: { backend: ${backend}, ${options} }`);
    expect(findings.map(({ code, severity, path }) => [code, severity, path])).toEqual(
      unused.map((key) => ['OPTION_UNUSED', 'warning', `state.${key}`]),
    );
    expect(config?.state.backend).toBe(backend);
  });

  it.each([
    ['backend: file, durability: { replicas: 1 }', 'never, interval, commit'],
    ['backend: valkey, url: "valkey://h", key_prefix: p, durability: commit', '{ replicas: 1 }'],
    ['backend: valkey, url: "valkey://h", key_prefix: p, durability: { replica: 1 }', '{ replicas: 1 }'],
    ['backend: valkey, url: "valkey://h", key_prefix: p, durability: { replicas: 0 }', 'from 1 to 100'],
    ['backend: valkey, url: "valkey://h", key_prefix: p, durability: {}', 'replicas'],
    ['backend: valkey, url: "valkey://h", key_prefix: p, durability: [1]', '{ replicas: 1 }'],
    ['backend: valkey, url: "valkey://h", key_prefix: p, durability: comit', 'did you mean `commit`?'],
  ])('refuses %s, and says what to write', (state, fix) => {
    const [found] = check(`state: { ${state} }`).findings.filter(({ severity }) => severity === 'error');
    expect(found?.path).toMatch(/^state\.durability/);
    expect(`${found?.message} ${found?.fix}`).toContain(fix);
  });

  it('takes a durability and a cluster from the environment', () => {
    const text =
      'state: { backend: valkey, url: "valkey://h", key_prefix: p, cluster: "${C:true}", durability: { replicas: "${N:2}" } }';
    expect(check(text)).toMatchObject({
      findings: [],
      config: { state: { cluster: true, durability: { replicas: 2 } } },
    });
    expect(only(text.replace('C:true', 'C:yes'))).toMatchObject({ code: 'WRONG_TYPE', path: 'state.cluster' });
  });
});

describe('a password in a url that is not percent-encoded', () => {
  it.each(['12/s3cret', 's3cret/12', 'x@s3cret/1', '1#s3cret', '1?s3cret', 's3cret@1/2@'])(
    'is told of: %s',
    (password) => {
      const text = `state: { backend: valkey, url: "valkey://ana:${password}@h", key_prefix: p }`;
      const found = check(text).findings.find(({ code }) => code === 'URL_INVALID');
      expect(found).toMatchObject({
        code: 'URL_INVALID',
        message: 'state.url: the URL valkey://ana:***@h has a user or password that is not percent-encoded',
        fix: expect.stringMatching(/^percent-encode it: .*%40 for @, %2F for \//),
      });
      expect(JSON.stringify(found)).not.toContain('s3cret');
    },
  );
});

describe('the url of a cluster', () => {
  const cluster = (url: string) => `state: { backend: valkey, url: "${url}", key_prefix: p, cluster: true }`;
  it.each(['valkey://h', 'valkeys://u:p,w@a:1,b:2,c', 'redis://[::1]:7000,10.0.0.2:7001/0', 'valkey://a,b/'])(
    'may be %s',
    (url) => expect(validateConfigText(cluster('${URL}'), { env: { URL: url } }).findings).toEqual([]),
  );
  it.each([
    ['valkey://h/1', 'names a database'],
    ['valkey://u:s3cret@a,b c', 'white space'],
    ['valkey://a,b:x', 'cannot be parsed'],
    ['valkey://a,,b', 'names no host'],
    ['valkey://u:s3cret@a,b/2', 'names a database'],
    ['valkey://u:1/s3cret@a,b', 'not percent-encoded'],
  ])('is not %s', (url, why) => {
    const found = only(cluster(url));
    expect(found).toMatchObject({ code: 'URL_INVALID', path: 'state.url' });
    expect(found.message).toContain(why);
    expect(JSON.stringify(found)).not.toContain('s3cret');
  });
  it('names several nodes only where it is said to be one', () => {
    expect(only('state: { backend: valkey, url: "valkey://a:1,b:2", key_prefix: p }').code).toBe('URL_INVALID');
  });
});

describe('secrets', () => {
  it.each([
    'state: { backend: valkey, url: "http://ana:s3cret@h", key_prefix: p }',
    'state: { backend: valkey, url: "valkey://ana:s3 cret@h", key_prefix: p }',
    'state: { backend: valkey, url: "s3cret@h:6379", key_prefix: p }',
    'state: { backend: valkey, url: "valkey://:s3cret", key_prefix: p }',
    'state:\n  backend: valkey\n  url: >-\n    http://ana:s3cret@h\n  key_prefix: p\n',
    'state:\n  backend: valkey\n  key_prefix: p\n  url: "http://ana:s3\\\n    cret@h"\n  tll: 5\n',
    'state:\n  backend: valky\n  url: valkey://ana:s3cret@h\n',
    'state:\n  backend: file\n  url: valkey://ana:s3cret@h\n',
    'state:\n  backend: valkey://ana:s3cret@h\n',
    'state:\n  ttl: valkey://ana:s3cret@h\n',
    'state: { backend: valkey, url: "${SECRET_URL}", key_prefix: p }',
    'state: { backend: "${SECRET_URL}" }',
    'services:\n  a:\n    type: x\n    config:\n      password: s3cret\n      db: -1\n',
    'services:\n  a:\n    config:\n      db: -1\n      api_key: |\n        s3cret\n',
    'services: { a: { config: { client_secret: "s3cret" } } }\n',
    'state:\n  url: "valkey://ana:s3cret@h\n',
    'state: { backend: valkey, url: valkey://ana:s3cret@h }, {\n',
    '# valkey://ana:s3cret@h\nstate: { nope: 1 }\n',
    'state:\n  url: >valkey://ana:s3cret@h\n',
    'state:\n  url: "valkey://ana:"s3cret@h\n',
    'state: { url: valkey://ana:s3cret@h, url: valkey://ana:s3cret@h, valkey://ana:s3cret@h: 1, valkey://ana:s3cret@h: 2 }\n',
    'valkey://ana:s3cret@h: 1\n',
  ])('are never shown: %s', (text) => {
    const { findings } = check(text);
    expect(findings.length).toBeGreaterThan(0);
    const shown = JSON.stringify(findings);
    expect(shown).not.toContain('s3');
    expect(shown).not.toContain('cret@');
  });
});

describe('any text', () => {
  const piece = fc.constantFrom(
    'agent:',
    'skills:',
    'state:',
    'services:',
    'security:',
    '\n',
    '\n  ',
    '\n    - ',
    '\t',
    ' ',
    ': ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    "'",
    '|',
    '>-',
    '#',
    '&a',
    '*a',
    '<<:',
    '? ',
    '!!str',
    '!x',
    '%YAML 1.1',
    '---',
    '...',
    '${',
    '${A}',
    '${A:',
    '}',
    '$${',
    'backend',
    'valkey',
    'file',
    'url',
    'id',
    'handler',
    'ttl',
    '0',
    '-1',
    '1e400',
    '.nan',
    'null',
    '~',
    '\uFEFF',
    '\u0000',
    '\u2028',
    '日',
    '🚀',
    '\ud800',
    '__proto__',
    'constructor',
    'valkey://u:p@h',
    '\r\n',
    '\r',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.string({ maxLength: 200 }),
    fc.array(piece, { maxLength: 60 }).map((parts) => parts.join('')),
    fc.json().map((json) => json.replaceAll('"', "'")),
    fc
      .record({ agent: fc.anything(), skills: fc.anything(), state: fc.anything(), services: fc.anything() })
      .map((value) => {
        try {
          return JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? Number(item) : item));
        } catch {
          return '';
        }
      }),
  );

  it('gives findings or a configuration, never an exception', () => {
    fc.assert(
      fc.property(text, (given) => {
        const { findings, config, document } = check(given);
        const errors = findings.filter(({ severity }) => severity === 'error');
        expect(config === undefined).toBe(errors.length > 0);
        const lines = document.text.split('\n').length;
        for (const { line, column, frame, message, path, fix } of findings) {
          expect(line).toBeGreaterThanOrEqual(1);
          expect(line).toBeLessThanOrEqual(lines);
          expect(column).toBeGreaterThanOrEqual(1);
          expect(frame.replaceAll('\n', '')).not.toMatch(CONTROL);
          expect(message + path + fix).not.toMatch(CONTROL);
        }
        expect(() => document.locate(['a', 0, 'b'])).not.toThrow();
      }),
      { numRuns: 1000 },
    );
  });
});
