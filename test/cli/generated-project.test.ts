import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NASTY_NAMES } from './nasty-names.js';
import { emptyProject, runTool } from './project.js';
import { runHere } from './run-cli.js';

const FLAVOURS = ['memory', 'tasks', 'plain'] as const;
/** Tests in the template of each flavour. */
const TESTS = { memory: 4, tasks: 4, plain: 4 };

let cwd: string;
/** The skills that were asked for, in order. */
const skills = NASTY_NAMES.map((name, index) => ({ name, flavour: FLAVOURS[index % FLAVOURS.length] ?? 'memory' }));

beforeAll(async () => {
  cwd = await emptyProject();
  const [first, ...others] = skills;
  if (!first) throw new Error('no names');
  const made = await runHere(
    [
      'init',
      '--yes',
      '--name',
      first.name,
      '--skill',
      first.name,
      '--template',
      first.flavour,
      '--description',
      first.name,
    ],
    { cwd },
  );
  expect(made, made.stderr).toMatchObject({ status: 0 });
  for (const { name, flavour } of others) {
    const keyword = `say ${name.trim()}`;
    const ran = await runHere(
      ['skill', 'create', '--yes', '--template', flavour, '--description', name, '--keyword', keyword, '--', name],
      { cwd },
    );
    expect(ran, `${name}: ${ran.stderr}`).toMatchObject({ status: 0 });
  }
}, 60_000);

afterAll(async () => {
  await rm(cwd, { recursive: true, force: true });
});

describe('a generated project, with names that break generators', () => {
  it('keeps every name as it was given', async () => {
    const { stdout } = await runHere(['skill', 'list', '--json'], { cwd });
    const listed = (JSON.parse(stdout) as { skills: { name: string; description: string; keywords: string[] }[] })
      .skills;
    expect(listed.map(({ name }) => name)).toEqual(skills.map(({ name }) => name.trim()));
    expect(listed.map(({ description }) => description)).toEqual(skills.map(({ name }) => name));
    expect(listed.slice(1).map(({ keywords }) => keywords)).toEqual(
      skills.slice(1).map(({ name }) => [`say ${name.trim()}`]),
    );
  });

  it('keeps the comments of the configuration', async () => {
    const config = await readFile(join(cwd, 'agent_config.yaml'), 'utf8');
    expect(config).toContain('# What this agent is made of.');
    expect(config).toContain('# answers when nothing else matches');
    expect(config).toContain(
      'state: { backend: file, storage_dir: ./conversation_states }\n# state: { backend: valkey',
    );
  });

  it('validates clean, warnings included', async () => {
    const ran = await runHere(['validate-config', '--strict', '--connect', '--json'], { cwd });
    expect(JSON.parse(ran.stdout)).toEqual({ valid: true, findings: [] });
    expect(ran.status).toBe(0);
  }, 60_000);

  it('compiles under strict', async () => {
    const ran = await runTool(cwd, 'typescript/bin/tsc');
    expect(ran.stdout).toBe('');
    expect(ran.status).toBe(0);
  }, 60_000);

  it('passes its own tests', async () => {
    // Not a process for each of the files: they load the same package.
    const ran = await runTool(cwd, 'vitest/vitest.mjs', 'run', '--reporter=json', '--no-isolate');
    const { testResults } = JSON.parse(ran.stdout) as {
      testResults: { assertionResults: { fullName: string; status: string; failureMessages: string[] }[] }[];
    };
    const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
    expect(tests.filter(({ status }) => status !== 'passed')).toEqual([]);
    expect(tests).toHaveLength(skills.reduce((sum, { flavour }) => sum + TESTS[flavour], 0));
    expect(ran.status).toBe(0);
  }, 120_000);
});
