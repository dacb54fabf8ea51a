import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startValkey } from '../support/index.js';
import { freshProject } from './project.js';
import { runCli, runHere } from './run-cli.js';

interface Report {
  healthy: boolean;
  checks: { name: string; status: 'ok' | 'warn' | 'fail'; message: string; fix?: string }[];
}

let cwd: string;

beforeAll(async () => {
  cwd = await freshProject();
});

afterAll(async () => {
  await rm(cwd, { recursive: true, force: true });
});

async function doctor(...args: string[]): Promise<Report & { status: number | null; of: Record<string, string> }> {
  const { status, stdout } = await runHere(['doctor', '--json', ...args], { cwd });
  const report = JSON.parse(stdout) as Report;
  return { ...report, status, of: Object.fromEntries(report.checks.map((check) => [check.name, check.status])) };
}

async function config(name: string, yaml: string): Promise<string[]> {
  await writeFile(join(cwd, name), yaml);
  return ['--config', name];
}

describe('agentup doctor', () => {
  it('finds a new project in good health, and leaves nothing behind', async () => {
    const ran = await runCli(['doctor'], { cwd });
    expect(ran).toMatchObject({ status: 0, stderr: '' });
    expect(ran.stdout).toContain('All is well.');
    expect(ran.stdout).toMatch(/ok +storage +file: open [\d.]+ ms/);
    const { of } = await doctor();
    expect(of).toEqual({ Node: 'ok', configuration: 'ok', TypeScript: 'ok', storage: 'ok', skills: 'ok' });
    expect((await readdir(join(cwd, 'conversation_states'), { recursive: true })).join()).not.toContain('probe');
  });

  it('tries the service that the caches are on, and so does validate-config --connect', async () => {
    const yaml = (port: number) =>
      `services: { fast: { type: valkey, config: { url: "valkey://:s3cret@127.0.0.1:${port}" } } }\ncaches: { service: fast, timeout: 300 }\nstate: { backend: file }\n`;
    const server = await startValkey(['--requirepass', 's3cret']);
    try {
      const { of } = await doctor(...(await config('fast.yaml', yaml(server.port))));
      expect(of).toMatchObject({ storage: 'ok', caches: 'ok' });
      const connected = await runHere(['validate-config', 'fast.yaml', '--connect'], { cwd });
      expect(connected).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/connected file: [\s\S]*connected valkey: /),
      });
    } finally {
      await server.stop();
    }
    const { checks, status } = await doctor('--config', 'fast.yaml');
    expect(status).toBe(1);
    expect(checks.find(({ name }) => name === 'caches')).toMatchObject({
      status: 'fail',
      fix: 'start the server, or correct services.fast in the configuration',
    });
    const failed = await runHere(['validate-config', 'fast.yaml', '--connect', '--json'], { cwd });
    expect(failed.status).toBe(1);
    expect(JSON.parse(failed.stdout)).toMatchObject({
      findings: [
        { code: 'SECRET_IN_FILE', severity: 'warning' },
        {
          code: 'STORAGE_UNAVAILABLE',
          path: 'services.fast',
          line: 1,
          message: expect.stringContaining('of the caches'),
        },
      ],
    });
    expect(JSON.stringify(checks) + failed.stdout + failed.stderr).not.toContain('s3cret');
  });

  it('says what to do without a configuration', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'cli-doctor-'));
    try {
      const { healthy, checks, status } = await doctor('--cwd', empty);
      expect({ healthy, status }).toEqual({ healthy: false, status: 1 });
      expect(checks.find(({ name }) => name === 'configuration')).toMatchObject({
        status: 'fail',
        fix: 'run: npx agentup init',
      });
      expect(checks.find(({ name }) => name === 'TypeScript')).toMatchObject({ status: 'warn' });
    } finally {
      await rm(empty, { recursive: true, force: true });
    }
  });

  it('points to validate-config where the configuration is invalid', async () => {
    const { checks, status } = await doctor(...(await config('invalid.yaml', 'state: { backend: nothing }\n')));
    expect(status).toBe(1);
    expect(checks.find(({ name }) => name === 'configuration')).toMatchObject({
      message: expect.stringMatching(/^line 1: state\.backend .*"nothing" \(1 error\)$/),
      fix: 'run: npx agentup validate-config',
    });
  });

  it.each([
    ['hunter2', 'WRONGPASS invalid username-password pair or user is disabled.', 'check user and password in the url'],
    ['', 'NOAUTH Authentication required.', 'write it in the url: valkey://user:password@host'],
  ])('says what the server says of the password %j, and shows none', async (password, reason, fix) => {
    const server = await startValkey(['--requirepass', 's3cret']);
    try {
      const url = `valkey://${password && `:${password}@`}127.0.0.1:${server.port}`;
      const yaml = `skills: []\nstate: { backend: valkey, url: "${url}", key_prefix: "x:" }\n`;
      const args = await config('refused.yaml', yaml);
      const { checks } = await doctor(...args);
      expect(checks.find(({ name }) => name === 'storage')).toMatchObject({
        status: 'fail',
        message: expect.stringContaining(reason),
        fix,
      });
      const connected = await runHere(['validate-config', 'refused.yaml', '--connect'], { cwd });
      const listed = await runHere(['state', 'list', ...args], { cwd });
      for (const ran of [connected, listed]) {
        expect(ran.status).toBe(1);
        expect(ran.stderr + ran.stdout).toContain(reason);
        expect(ran.stderr + ran.stdout).not.toContain('hunter2');
      }
    } finally {
      await server.stop();
    }
  });

  it('fails where the storage is down or a skill does not load', async () => {
    await writeFile(join(cwd, 'broken.ts'), 'export const oops = ;\n');
    const yaml = [
      'skills: [{ id: broken, handler: ./broken.ts }]',
      'state: { backend: valkey, url: "valkey://:s3cret@127.0.0.1:1", key_prefix: "x:" }',
    ];
    const report = await doctor(...(await config('down.yaml', `${yaml.join('\n')}\n`)));
    expect(report).toMatchObject({
      healthy: false,
      status: 1,
      of: { configuration: 'ok', storage: 'fail', skills: 'fail' },
    });
    expect(JSON.stringify(report)).not.toContain('s3cret');
    for (const { status, fix } of report.checks) if (status !== 'ok') expect(fix).toBeTypeOf('string');
  });

  it('warns of a memory that does not last, and of an agent without skills', async () => {
    const report = await doctor(...(await config('memory.yaml', 'state: { backend: memory }\n')));
    expect(report).toMatchObject({ healthy: true, status: 0, of: { storage: 'warn', skills: 'warn' } });
    const { stdout } = await runHere(['doctor', '--config', 'memory.yaml'], { cwd });
    expect(stdout).toContain('It works; look at what says warn.');
    expect(stdout).not.toContain('All is well');
  });

  it('has shown what it found where a skill then ends the process', async () => {
    await writeFile(join(cwd, 'exits.ts'), 'process.exit(0);\n');
    const yaml = 'skills: [{ id: exits, handler: ./exits.ts }]\nstate: { backend: file }\n';
    const ran = await runCli(['doctor', ...(await config('exits.yaml', yaml))], { cwd });
    expect(ran.status).toBe(1);
    expect(ran.stdout).toMatch(/^ok {4}Node .*\nok {4}configuration .*\nok {4}TypeScript .*\nok {4}storage .*\n$/);
    expect(ran.stderr).toContain('called process.exit(0)');
  });

  it('reads tsconfig with comments, and what it extends', async () => {
    const project = await freshProject();
    try {
      const check = async (): Promise<Report['checks'][number] | undefined> => {
        const { stdout } = await runHere(['doctor', '--json'], { cwd: project });
        return (JSON.parse(stdout) as Report).checks.find(({ name }) => name === 'TypeScript');
      };
      await writeFile(join(project, 'base.json'), '{ "compilerOptions": { "strict": true, } } // strict');
      await writeFile(join(project, 'tsconfig.json'), '{ /* mine */ "extends": "./base", "compilerOptions": {} }');
      expect(await check()).toMatchObject({ status: 'ok', message: expect.stringContaining('standard decorators') });
      await writeFile(join(project, 'tsconfig.json'), '{ "compilerOptions": { "experimentalDecorators": true } }');
      expect(await check()).toMatchObject({ status: 'warn', message: expect.stringContaining('not strict, legacy') });
      await writeFile(join(project, 'tsconfig.json'), '{ "extends": "./tsconfig.json" }');
      expect(await check()).toMatchObject({ status: 'fail' });
    } finally {
      await rm(project, { recursive: true, force: true });
    }
  });
});
