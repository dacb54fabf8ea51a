import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { runCli, runHere } from './run-cli.js';

const cwd = tmpdir();
const COMMANDS = [
  ['init'],
  ['skill', 'create'],
  ['skill', 'list'],
  ['validate-config'],
  ['chat'],
  ['doctor'],
  ...['list', 'show', 'tail', 'clear', 'cleanup', 'stats', 'export', 'import', 'migrate', 'reencrypt', 'test'].map(
    (name) => ['state', name],
  ),
];

describe('agentup', () => {
  it('lists its commands and exit codes', async () => {
    const { status, stdout } = await runHere(['--help'], { cwd });
    expect(status).toBe(0);
    for (const [name] of COMMANDS) expect(stdout).toContain(name);
    expect(stdout).toContain('130 cancelled');
  });

  it.each(COMMANDS)('%s %s has help with examples', async (...command) => {
    const { status, stdout } = await runHere([...command.filter((word) => typeof word === 'string'), '--help'], {
      cwd,
    });
    expect(status).toBe(0);
    expect(stdout).toContain('Examples:');
    expect(stdout).toContain(`$ agentup ${command.filter((word) => typeof word === 'string').join(' ')}`);
  });

  it('puts its own name only before its own words', async () => {
    const { stdout } = await runHere(['state', 'import', '--help'], { cwd });
    expect(stdout).toContain('  $ gunzip < backup.ndjson.gz | agentup state import\n');
  });

  it('prints its version', async () => {
    const manifest = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect((await runCli(['--version'], { cwd })).stdout).toBe(`${manifest.version}\n`);
  });

  it.each([
    [['chta'], 'Did you mean chat?'],
    [['skill', 'craete'], 'Did you mean create?'],
    [['validate'], 'unknown command'],
    [['chat', '--contxt', 'x'], 'Did you mean --context?'],
    [['chat', '--once'], 'argument missing'],
    [['init', 'a', 'b'], 'too many arguments'],
  ])('ends with 2 for %j', async (args, sentence) => {
    const { status, stdout, stderr } = await runHere(args, { cwd });
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(sentence);
  });

  it.each([[[]], [['skill']], [['state']]])('ends with 2 and shows the help for %j', async (args) => {
    const { status, stdout, stderr } = await runHere(args, { cwd });
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain('Usage:');
  });

  it('prints only JSON with --json, also when it was called wrongly', async () => {
    const { status, stdout } = await runCli(['doctor', '--json', '--bogus'], { cwd });
    expect(status).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'USAGE' } });
  });

  it('does not complain when whoever reads it stops reading', async () => {
    const bin = new URL('../../bin/agentup.js', import.meta.url).pathname;
    const { stderr } = await promisify(execFile)('/bin/sh', ['-c', `"${process.execPath}" "${bin}" --help | true`]);
    expect(stderr).toBe('');
  });

  it('loads nothing heavy for its help', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cli-loaded-'));
    try {
      await runCli(['--help'], { cwd, env: { NODE_V8_COVERAGE: directory } });
      const loaded = (
        await Promise.all((await readdir(directory)).map((file) => readFile(join(directory, file), 'utf8')))
      ).join();
      expect(loaded).toContain('/dist/cli/program.js');
      for (const heavy of ['inquirer', 'zod', '/yaml/', 'iovalkey', 'tsx', '/dist/cli/commands/', '/dist/storage/']) {
        expect(loaded).not.toContain(heavy);
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
