import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkSkills } from '../../src/agent/check-skills.js';
import { type Finding, loadConfig, validateConfigFile } from '../../src/config/index.js';

let directory: string;

beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'check-skills-')));
  // Decorators in the legacy dialect, as the templates have them.
  await write('tsconfig.json', '{ "compilerOptions": { "experimentalDecorators": true } }');
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function write(name: string, text: string): Promise<void> {
  await mkdir(dirname(join(directory, name)), { recursive: true });
  await writeFile(join(directory, name), text);
}

const source = (file: string) => JSON.stringify(join(process.cwd(), 'src/skill', file));
const zod = JSON.stringify(import.meta.resolve('zod'));
const IMPORT = `
import { handler } from ${source('handler.js')};
import { injected } from ${source('injected.js')};
import { skill } from ${source('skill.js')};
import { stateful } from ${source('stateful.js')};
import { withState } from ${source('with-state.js')};
`;

/** A class skill with these options, in a file of its own. */
const handlerFile = (options = '', id = 'one') => `${IMPORT}
@skill({ id: '${id}' })
export class Handler {
  @stateful(${options})
  async handle(task: { text: string }, context: any = injected(), contextId: string = injected()) { return ''; }
}
`;

async function check(yaml: string): Promise<readonly Finding[]> {
  await write('agent_config.yaml', yaml);
  return checkSkills(await loadConfig({ cwd: directory, env: {} }));
}

const one = (handler: string, state = '{ backend: memory }') =>
  `skills:\n  - id: one\n    handler: ${handler}\nstate: ${state}\n`;

describe('checkSkills', () => {
  it('names what a missing file was meant to be, but does not compare thousands with thousands', async () => {
    for (let i = 0; i < 1_000; i++) await write(`skills/s${i}.mjs`, '');
    const skills = Array.from({ length: 210 }, (_, i) => `  - { id: s${i}, handler: ./skills/s${i}.mj }\n`);
    const fixes = (await check(`state: { backend: memory }\nskills:\n${skills.join('')}`)).map(({ fix }) => fix);
    expect(fixes.slice(0, 200)).toEqual(fixes.slice(0, 200).map((_, i) => `did you mean \`skills/s${i}.mjs\`?`));
    expect(fixes.slice(200)).toEqual(Array(10).fill('correct the path, or create the file'));
  });

  it('has nothing to say about skills that fit', async () => {
    await write('a.ts', handlerFile());
    await write('b.mjs', `${IMPORT}export const reply = withState(async () => 'x');\n`);
    await write('c.ts', `${IMPORT}export default class { @handler() say() { return 1; } }\n`);
    const yaml =
      'skills:\n  - { id: one, handler: ./a.ts }\n  - { id: two, handler: "./b.mjs#reply" }\n  - { id: three, handler: ./c.ts }\n';
    expect(await check(`${yaml}state: { backend: memory }\n`)).toEqual([]);
  });

  it('finds every skill whose code is not there, at once', async () => {
    await write('skills/assistant.ts', handlerFile());
    await write('skills/nothing.ts', 'export const nothing = 1;\n');
    await write('skills/two.ts', `${IMPORT}export class A { @handler() a() {} @handler() b() {} }\n`);
    const findings = await check(
      [
        'skills:',
        '  - { id: a, handler: ./skills/asistant.ts }',
        '  - { id: b, handler: "./skills/assistant.ts#Hander" }',
        '  - { id: c, handler: ./skills/nothing.ts }',
        '  - { id: d, handler: ./skills/two.ts }',
        '  - { id: e, handler: ./skills }',
        '  - { id: f, handler: .\\skills\\assistant.ts }',
        'state: { backend: memory }',
        '',
      ].join('\n'),
    );
    expect(findings.map(({ code, path, line, severity }) => [code, path, line, severity])).toEqual([
      ['HANDLER_NOT_FOUND', 'skills[0].handler', 2, 'error'],
      ['EXPORT_NOT_FOUND', 'skills[1].handler', 3, 'error'],
      ['HANDLER_NOT_DECORATED', 'skills[2].handler', 4, 'error'],
      ['HANDLER_NOT_DECORATED', 'skills[3].handler', 5, 'error'],
      ['HANDLER_NOT_FOUND', 'skills[4].handler', 6, 'error'],
      ['HANDLER_NOT_FOUND', 'skills[5].handler', 7, 'error'],
    ]);
    expect(findings[0]?.fix).toContain('skills/assistant.ts');
    expect(findings[1]?.fix).toContain('./skills/assistant.ts#Handler');
    expect(findings[3]?.message).toContain('a, b');
    expect(findings[4]).toMatchObject({ message: 'the skill e: ./skills is a directory', fix: 'name a file in it' });
    expect(findings[5]?.fix).toContain('write `./skills/assistant.ts`');
    expect(findings[1]?.frame).toContain('> 3 |');
  });

  it('names the cause and the line of a file that fails to load', async () => {
    await write('package.json', '{ "type": "module" }');
    await write('syntax.ts', 'export class Handler {\n  broken(\n}\n');
    await write('throws.ts', '\n\nthrow new Error("thrown at load, valkey://ana:s3cret@h");\n');
    await write('imports.ts', "import './gone.js';\n");
    await write(
      'maker.ts',
      `${IMPORT}export class Maker {\n  constructor() {\n    throw new Error('cannot be made');\n  }\n  @handler() handle() {}\n}\n`,
    );
    const files = ['syntax.ts', 'throws.ts', 'imports.ts', 'maker.ts'];
    const findings = await check(
      `skills:\n${files.map((file, index) => `  - { id: s${index}, handler: ./${file} }\n`).join('')}state: { backend: memory }\n`,
    );
    expect(findings.map(({ code }) => code)).toEqual(files.map(() => 'HANDLER_LOAD_FAILED'));
    expect(findings[0]?.message).toMatch(/the skill s0: \.\/syntax\.ts cannot be loaded: .+ \(syntax\.ts:3:\d+\)/);
    expect(findings[1]?.message).toMatch(/thrown at load, valkey:\/\/ana:\*\*\*@h \(throws\.ts:3:\d+\)/);
    expect(findings[2]?.message).toContain('gone.js');
    expect(findings[3]?.message).toMatch(/cannot be made \(maker\.ts:9:\d+\)/);
    expect(JSON.stringify(findings)).not.toContain('s3cret');
  });

  it.each([
    ["import { a } from 'not-installed/deep';", 'run: npm install not-installed'],
    ["import { a } from '@not/installed';", 'run: npm install @not/installed'],
  ])('says how to get a package that is not installed: %s', async (line, fix) => {
    await write('a.mjs', `${line}\nexport default a;\n`);
    expect(await check(one('./a.mjs'))).toMatchObject([{ code: 'HANDLER_LOAD_FAILED', fix }]);
  });

  it('reports tools of one name in two skills, and one that no model could be told of', async () => {
    const toolFile = (id: string, options: string) =>
      `import { tool } from ${source('tool.js')};\nimport { z } from ${zod};\n${handlerFile('', id).replace(
        /\}\s*$/,
        `  @tool({ description: 'Searches'${options} }) async search() { return ''; }\n}\n`,
      )}`;
    await write('a.ts', toolFile('one', ''));
    await write('b.ts', toolFile('two', ''));
    const two =
      'skills:\n  - { id: one, handler: ./a.ts }\n  - { id: two, handler: ./b.ts }\nstate: { backend: memory }\n';
    const [taken, ...others] = await check(two);
    expect(others).toEqual([]);
    expect(taken).toMatchObject({ code: 'TOOL_NAME_TAKEN', severity: 'error', path: 'skills[1].handler', line: 3 });
    expect(taken?.fix).toContain("name: 'two_search'");
    await write('d.ts', toolFile('one', ', input: z.object({ day: z.date() })'));
    expect(await check(one('./d.ts'))).toMatchObject([
      { code: 'HANDLER_LOAD_FAILED', message: expect.stringContaining('search has no JSON Schema') },
    ]);
  });

  it('warns when a class calls itself otherwise', async () => {
    await write('a.ts', handlerFile('', 'other'));
    const findings = await check(one('./a.ts'));
    expect(findings).toMatchObject([
      { code: 'SKILL_ID_MISMATCH', severity: 'warning', path: 'skills[0].id', line: 2, column: 9 },
    ]);
    expect(findings[0]?.fix).toContain('id: other');
  });

  it.each([
    [
      "{ storage: 'valkey', url: 'valkey://h', keyPrefix: 'p' }",
      '{ backend: file }',
      'storage is valkey, and state.backend is file',
    ],
    ['{ ttl: 60 }', '{ backend: memory, ttl: 3600 }', 'ttl is 60, and state.ttl is 3600'],
    ["{ ttl: 60, concurrency: 'parallel', history: 5, onUnavailable: 'degrade' }", '{ backend: memory }', 'ttl is 60'],
    ["{ storageDir: './b' }", '{ backend: file, storage_dir: ./a }', 'storageDir is ./b, and state.storage_dir is ./a'],
    [
      "{ url: 'valkey://ana:s3cret@other' }",
      '{ backend: valkey, url: "valkey://ana:s3cret@here", key_prefix: p }',
      'url is valkey://ana:***@other, and state.url is valkey://ana:***@here',
    ],
  ])('warns when a handler goes its own way: %s', async (options, state, expected) => {
    await write('a.ts', handlerFile(options));
    const findings = await check(one('./a.ts', state));
    expect(findings).toMatchObject([{ code: 'STATE_OVERRIDDEN', severity: 'warning', path: 'skills[0].handler' }]);
    expect(findings[0]?.message).toContain(expected);
    expect(JSON.stringify(findings)).not.toContain('s3cret');
  });

  it('does not warn when a handler repeats the configuration', async () => {
    await write('a.ts', handlerFile("{ storage: 'file', storageDir: 'a/', ttl: 60, history: 20 }"));
    expect(await check(one('./a.ts', '{ backend: file, storage_dir: ./a, ttl: 60 }'))).toEqual([]);
  });

  it.each([["{ storage: 'valkey' }"], ["{ storage: 'valkey', url: 'http://h', keyPrefix: 'p' }"]])(
    'finds options that make no storage: %s',
    async (options) => {
      await write('a.ts', handlerFile(options));
      const findings = await check(one('./a.ts'));
      expect(findings).toMatchObject([{ code: 'STATE_UNRESOLVED', severity: 'error', path: 'skills[0].handler' }]);
      expect(findings[0]?.fix).toBeTypeOf('string');
    },
  );

  it.each([
    ['{ ttl: 0 }', /ttl is 0; .* \(a\.ts:\d+:\d+\)$/, /^look at line \d+ of a\.ts$/],
    [
      "{ storage: 'redis' as never }",
      /@stateful\(\) has storage "redis"; it is 'memory', .*\(a\.ts/,
      /^give `storage`/,
    ],
  ])('finds options that are none: %s', async (options, message, fix) => {
    await write('a.ts', handlerFile(options));
    expect(await check(one('./a.ts'))).toMatchObject([
      { code: 'HANDLER_LOAD_FAILED', message: expect.stringMatching(message), fix: expect.stringMatching(fix) },
    ]);
  });

  it('looks for the code of a skill whose entry has other mistakes, too', async () => {
    await write('agent_config.yaml', 'skills: [{ id: one, handler: ./missing.ts, keywords: x, prioritty: 1 }]\n');
    const validation = validateConfigFile({ cwd: directory });
    const findings = [...validation.findings, ...(await checkSkills(validation))];
    expect(findings.map(({ path }) => path).sort()).toEqual([
      'skills[0].handler',
      'skills[0].keywords',
      'skills[0].prioritty',
    ]);
  });

  it('checks the skills that are sound in a file that is not', async () => {
    await write('a.ts', handlerFile("{ storage: 'valkey' }"));
    await write(
      'agent_config.yaml',
      'skills:\n  - { id: one, handler: ./gone.ts }\n  - { id: two }\n  - { id: one, handler: ./a.ts }\nstate: { ttl: 0 }\n',
    );
    const validation = validateConfigFile({ cwd: directory });
    expect(validation.findings.map(({ code }) => code)).toEqual(['MISSING_KEY', 'SKILL_ID_DUPLICATE', 'TTL_INVALID']);
    // The state is not known, so nothing is said about options that might contradict it.
    expect((await checkSkills(validation)).map(({ code, path }) => [code, path])).toEqual([
      ['HANDLER_NOT_FOUND', 'skills[0].handler'],
    ]);
  });
});
