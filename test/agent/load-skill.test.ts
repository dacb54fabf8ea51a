import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const CLASS = `import { injected, stateful, type ConversationContext, type Task } from 'agentup';
export class Visits {
  @stateful()
  async handle(task: Task, context: ConversationContext = injected(), contextId: string = injected()) {
    return 'visit ' + (await context.incrementVariable(contextId, 'visits'));
  }
}
`;
const FUNCTION = "withState(async (_task, context, id) => 'visit ' + (await context.incrementVariable(id, 'visits')))";
const LEGACY = '{ "compilerOptions": { "experimentalDecorators": true } }';

let directory: string;

beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'load-skill-')));
  await mkdir(join(directory, 'node_modules'));
  await symlink(process.cwd(), join(directory, 'node_modules/agentup'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function write(files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), text);
  }
}

/** What the agent says, in a process of its own: vitest would load TypeScript its own way. */
async function ask(handler: string, cwd = directory): Promise<string> {
  const config = join(directory, 'agent_config.yaml');
  await writeFile(config, `skills: [{ id: one, handler: "${handler}" }]\nstate: { backend: memory }\n`);
  const bin = join(process.cwd(), 'bin/agentup.js');
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [bin, 'chat', '--once', 'hello', '--json', '--config', config],
    { cwd },
  ).catch((error: { stdout: string; stderr: string }) => error);
  const line = JSON.parse(stdout || '{}') as { text?: string; error?: { message: string; fix: string } };
  return line.text ?? `${line.error?.message} | ${line.error?.fix} | ${stderr}`;
}

describe('a handler file', () => {
  it.each([
    ['module', LEGACY],
    ['module', undefined],
    ['commonjs', LEGACY],
    ['commonjs', undefined],
    [undefined, LEGACY],
    [undefined, undefined],
  ])('may be TypeScript in a package of type %j with the tsconfig.json %j', async (type, tsconfig) => {
    await write({
      'package.json': JSON.stringify({ type }),
      'skills/visits.ts': `import { greeting } from './greeting.js';\n${CLASS.replace("'visit '", 'greeting')}`,
      'skills/greeting.ts': "export const greeting: string = 'visit ';\n",
      ...(tsconfig !== undefined && { 'tsconfig.json': tsconfig }),
    });
    // Its tsconfig.json counts, not that of the working directory.
    expect(await ask('./skills/visits.ts', tmpdir())).toBe('visit 1');
  });

  it.each([
    ['x.cts', CLASS, ''],
    ['x.mts', CLASS, '#Visits'],
    ['x.ts', `import { withState } from 'agentup';\nexport default ${FUNCTION};\n`, '#default'],
    ['x.mjs', `import { withState } from 'agentup';\nexport default ${FUNCTION};\n`, ''],
    ['x.js', `import { withState } from 'agentup';\nexport const one = ${FUNCTION};\n`, ''],
    ['x.js', `const { withState } = require('agentup');\nmodule.exports = ${FUNCTION};\n`, ''],
    [
      'x.cjs',
      `const { withState } = require('agentup');\nconst all = { two: ${FUNCTION} };\nmodule.exports = all;\n`,
      '#two',
    ],
  ])('may be %s', async (name, source, exported) => {
    await write({ 'package.json': '{}', 'tsconfig.json': LEGACY, [name]: source });
    expect(await ask(`./${name}${exported}`)).toBe('visit 1');
  });

  it('with several skills is asked which one is meant', async () => {
    const source = `import { withState } from 'agentup';\nexport const a = ${FUNCTION};\nexport const b = ${FUNCTION};\n`;
    await write({ 'x.mjs': source });
    const answer = await ask('./x.mjs');
    expect(answer).toContain('x.mjs exports several skills (a, b) | name the one that is meant: handler: ./x.mjs#a');
  });

  it.each([['module'], ['commonjs']])(
    'that throws is reported with its line, in a package of type %s',
    async (type) => {
      await write({ 'package.json': JSON.stringify({ type }), 'x.ts': "\n\nthrow new Error('at load');\n" });
      expect(await ask('./x.ts')).toContain('skill one: ./x.ts cannot be loaded: at load (x.ts:3) | correct the file');
    },
  );

  it('with a decorator that is refused is reported with the line of that, and what to write', async () => {
    await write({ 'package.json': '{ "type": "module" }', 'x.ts': CLASS.replace('@stateful()', '@stateful') });
    expect(await ask('./x.ts')).toMatch(/@stateful lacks its parentheses \(x\.ts:[34]\) \| write @stateful\(\)/);
  });

  it('in JavaScript with decorators is told that Node has none', async () => {
    await write({ 'package.json': '{ "type": "module" }', 'x.js': "@skill({ id: 'one' })\nexport class One {}\n" });
    expect(await ask('./x.js')).toMatch(
      /\| Node runs no decorators in JavaScript: make it a \.ts file, or export withState/,
    );
  });
});
