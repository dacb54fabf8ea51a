import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { valkeyUrl } from '../support/index.js';
import { freshProject } from './project.js';
import { runCli, runHere, Typist } from './run-cli.js';

interface Findings {
  valid: boolean;
  findings: {
    code: string;
    severity: string;
    path: string;
    line: number;
    column: number;
    message: string;
    fix: string;
  }[];
}

describe('agentup validate-config on a project', () => {
  let cwd: string;

  beforeAll(async () => {
    cwd = await freshProject();
  });
  afterAll(async () => {
    await rm(cwd, { recursive: true, force: true });
  });

  it('says that it is valid, also from a directory below', async () => {
    const ran = await runCli(['validate-config'], { cwd: join(cwd, 'src/skills') });
    expect(ran).toMatchObject({ status: 0, stderr: '' });
    expect(ran.stdout).toContain('valid');
    expect(ran.stdout).toContain('1 skill');
  });

  it('writes, reads and deletes with --connect, and leaves nothing behind', async () => {
    const ran = await runHere(['validate-config', '--connect'], { cwd });
    expect(ran.stdout).toMatch(/connected file: open [\d.]+ ms, write [\d.]+ ms, read [\d.]+ ms, delete [\d.]+ ms/);
    expect(ran.status).toBe(0);
  });

  it('finds what is wrong with handlers and with the rest at once, and connects where it can', async () => {
    await writeFile(
      join(cwd, 'both.yaml'),
      'agent: { nam: x }\nskills:\n  - { id: gone, handler: ./gone.ts }\nstate: { backend: file }\n',
    );
    const ran = await runHere(['validate-config', 'both.yaml', '--json'], { cwd });
    const { findings } = JSON.parse(ran.stdout) as Findings;
    expect(findings.map(({ code, line }) => [code, line])).toEqual([
      ['UNKNOWN_KEY', 1],
      ['HANDLER_NOT_FOUND', 3],
    ]);
    expect((await runHere(['validate-config', 'both.yaml', '--connect'], { cwd })).stdout).toContain('connected file');
  });

  it('finds what is wrong with a handler', async () => {
    await writeFile(join(cwd, 'src/skills/bare.ts'), 'export class Bare { handle() {} }\n');
    await writeFile(
      join(cwd, 'broken.yaml'),
      'skills:\n  - { id: bare, handler: ./src/skills/bare.ts }\n  - { id: gone, handler: ./src/skills/gone.ts }\n',
    );
    const ran = await runHere(['validate-config', 'broken.yaml', '--json'], { cwd });
    const { valid, findings } = JSON.parse(ran.stdout) as Findings;
    expect(valid).toBe(false);
    expect(findings.map(({ code, line }) => [code, line])).toEqual([
      ['HANDLER_NOT_DECORATED', 2],
      ['HANDLER_NOT_FOUND', 3],
    ]);
    expect(ran.status).toBe(1);
  });
});

describe('agentup validate-config on a file', () => {
  let cwd: string;

  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'cli-validate-'));
  });
  afterEach(async () => {
    await rm(cwd, { recursive: true, force: true });
  });

  async function check(yaml: string, ...args: string[]): Promise<Findings & { status: number | null }> {
    await writeFile(join(cwd, 'agent_config.yaml'), yaml);
    const { status, stdout } = await runHere(['validate-config', '--json', ...args], { cwd });
    return { ...(JSON.parse(stdout) as Findings), status };
  }

  it('reports all findings at once, each with its place and a fix', async () => {
    const { valid, findings, status } = await check('agent:\n  nam: x\nstate:\n  backend: redis\n  ttl: 0\n');
    expect({ valid, status }).toEqual({ valid: false, status: 1 });
    expect(findings.map(({ path, line }) => [path, line])).toEqual([
      ['agent.nam', 2],
      ['state.backend', 4],
      ['state.ttl', 5],
    ]);
    for (const finding of findings) {
      expect(Object.keys(finding)).toEqual(['code', 'severity', 'path', 'line', 'column', 'message', 'fix']);
      expect(finding.fix).toBeTypeOf('string');
    }
  });

  it('shows people the lines, the place and the fix, readable without colour', async () => {
    await writeFile(join(cwd, 'agent_config.yaml'), 'state:\n  backend: valkye\n');
    const { status, stdout, stderr } = await runHere(['validate-config'], { cwd });
    expect(status).toBe(1);
    expect(stderr).toBe('');
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toContain('agent_config.yaml:2:12');
    expect(stdout).toMatch(/> 2 \| {3}backend: valkye\n.*\^{6}/);
    expect(stdout).toMatch(/fix: .*valkey/);
    expect(stdout).toMatch(/invalid agent_config.yaml: \d errors?/);
  });

  it('uses colours on a terminal', async () => {
    await writeFile(join(cwd, 'agent_config.yaml'), 'state:\n  backend: valkye\n');
    const typist = new Typist(['validate-config'], { cwd, env: { NO_COLOR: '' } });
    expect(await typist.exited).toBe(1);
    expect(typist.shown).toContain('\u001b[31m');
    const forced = await runHere(['validate-config'], { cwd, env: { FORCE_COLOR: '1' } });
    expect(forced.stdout).toContain('\u001b[31m');
  });

  it('fails on warnings with --strict only', async () => {
    const yaml = 'state:\n  backend: memory\n  storage_dir: ./x\n';
    expect(await check(yaml)).toMatchObject({ valid: true, status: 0, findings: [{ severity: 'warning' }] });
    expect(await check(yaml, '--strict')).toMatchObject({ valid: false, status: 1 });
  });

  it('takes the file as an argument, as --config, and below --cwd', async () => {
    await mkdir(join(cwd, 'other'));
    await writeFile(join(cwd, 'other/custom.yaml'), 'agent: { name: x }\n');
    for (const args of [['other/custom.yaml'], ['--config', 'other/custom.yaml'], ['custom.yaml', '--cwd', 'other']]) {
      expect((await runHere(['validate-config', ...args], { cwd })).status).toBe(0);
    }
    expect((await runHere(['validate-config', 'a', '--config', 'b'], { cwd })).status).toBe(2);
  });

  it('ends with 3 when there is no configuration', async () => {
    const ran = await runHere(['validate-config', 'gone.yaml', '--json'], { cwd });
    expect(ran.status).toBe(3);
    expect(JSON.parse(ran.stdout)).toMatchObject({ error: { code: 'CONFIG_NOT_FOUND' } });
    expect((await runHere(['validate-config', '--cwd', '/'], { cwd })).status).toBe(3);
  });

  it('connects to Valkey, and hides its password', async () => {
    const state = `{ backend: valkey, url: "${valkeyUrl()}", key_prefix: "cli-validate:" }`;
    expect(await check(`state: ${state}\n`, '--connect')).toMatchObject({ valid: true, findings: [] });
  });

  it('says within its time bound that nothing listens there', async () => {
    const state = '{ backend: valkey, url: "valkey://ana:s3cret@127.0.0.1:1", key_prefix: "x:" }';
    const started = performance.now();
    await writeFile(join(cwd, 'agent_config.yaml'), `state: ${state}\n`);
    const ran = await runHere(['validate-config', '--connect'], { cwd });
    expect(ran.status).toBe(1);
    expect(ran.stdout).toContain('STORAGE_UNAVAILABLE');
    expect(ran.stdout + ran.stderr).not.toContain('s3cret');
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it('says within its time bound that somebody listens and does not answer', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const { port } = silent.address() as { port: number };
    try {
      const state = `{ backend: valkey, url: "valkey://127.0.0.1:${port}", key_prefix: "x:", timeout: 500 }`;
      const { findings } = await check(`state: ${state}\n`, '--connect');
      expect(findings.map(({ code, path }) => [code, path])).toEqual([['STORAGE_UNAVAILABLE', 'state']]);
    } finally {
      silent.close();
    }
  });

  it('goes on where the file is no YAML at all', async () => {
    const { valid, findings } = await check('a: [1\n\tb: {"');
    expect(valid).toBe(false);
    expect(findings.length).toBeGreaterThan(0);
    await appendFile(join(cwd, 'agent_config.yaml'), '');
    expect(await check('')).toMatchObject({ valid: false, findings: [{ code: 'EMPTY_FILE' }] });
  });
});
