import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emptyProject } from './project.js';
import { run, runCli } from './run-cli.js';

/** What a module of a user does to the process that loads it, and what is said of it. */
const MODULES: Record<string, readonly [code: string, said: string, at: string | undefined]> = {
  exits: ['process.exit(0);', 'called process.exit(0)', 'skills/exits.ts:1:'],
  waits: ['await new Promise(() => {});', 'nothing will ever settle', undefined],
  strays: ["void Promise.reject(new Error('boom'));\nexport {};", 'boom', 'skills/strays.ts:1:'],
  throwsLater: [
    "setTimeout(() => {\n  throw new Error('boom');\n});\nawait new Promise(() => {});",
    'boom',
    'skills/throwsLater.ts:2:',
  ],
};

let cwd: string;
beforeAll(async () => {
  cwd = await emptyProject();
  await mkdir(join(cwd, 'skills'));
  const files = {
    'package.json': '{ "type": "module" }\n',
    'skills/leaves.ts': `import { withState } from 'agentup';
export default withState(async () => {
  console.log('leaving');
  process.exit(0);
});
`,
    'skills/hangs.ts': "import { withState } from 'agentup';\nexport default withState(() => new Promise(() => {}));\n",
    ...Object.fromEntries(Object.entries(MODULES).map(([name, [code]]) => [`skills/${name}.ts`, `${code}\n`])),
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(cwd, name), text);
  for (const name of [...Object.keys(MODULES), 'leaves', 'hangs']) {
    await writeFile(
      join(cwd, `${name}.yaml`),
      `agent: { name: x }\nskills: [{ id: s, handler: ./skills/${name}.ts }]\nstate: { backend: memory }\n`,
    );
  }
});
afterAll(() => rm(cwd, { recursive: true, force: true }));

describe('a command that the code of a skill ends', () => {
  it.each(Object.entries(MODULES))('fails and says why where a module %s', async (name, [, said, at]) => {
    const ran = await runCli(['validate-config', `${name}.yaml`], { cwd });
    expect(ran).toMatchObject({ status: 1, stdout: '' });
    expect(ran.stderr).toContain(said);
    if (at !== undefined) expect(ran.stderr).toContain(`  at ${at}`);
    expect(ran.stderr).not.toContain('node:internal');
  });

  it('is an error in JSON too', async () => {
    const { status, stdout } = await runCli(['doctor', '--json', '--config', 'exits.yaml'], { cwd });
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { message: expect.stringContaining('process.exit(0)') } });
  });

  it.each([
    ['leaves', 'called process.exit(0)'],
    ['hangs', 'nothing will ever settle'],
  ])('is no answer where a handler %s', async (name, said) => {
    const ran = await runCli(['chat', '--once', 'hi', '--config', `${name}.yaml`], { cwd });
    expect(ran.status).toBe(1);
    expect(ran.stderr).toContain(said);
  });
});

it.runIf(process.platform === 'linux')('says in a sentence that its output could not be written', async () => {
  const bin = fileURLToPath(new URL('../../bin/agentup.js', import.meta.url));
  const ran = await run(
    '/bin/sh',
    ['-c', `"${process.execPath}" "${bin}" skill list --config leaves.yaml > /dev/full`],
    {
      cwd,
    },
  );
  expect(ran.status).toBe(1);
  expect(ran.stderr).toMatch(/^error the output cannot be written: ENOSPC.*\n$/);
});
