import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Finding, findConfig, loadConfig, parseConfig, validateConfigFile } from '../../src/config/index.js';
import type { AgentUpError } from '../../src/errors.js';
import { MAX_TTL } from '../../src/storage/changes.js';

let directory: string;

beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'agentup-config-')));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function write(text: string | Buffer, name = 'agent_config.yaml'): Promise<string> {
  await writeFile(join(directory, name), text);
  return join(directory, name);
}

async function failureOf(promise: Promise<unknown>): Promise<AgentUpError> {
  return promise.then(
    () => expect.fail('it did not fail'),
    (error: AgentUpError) => error,
  );
}

describe('findConfig', () => {
  it('finds the nearest file upwards, and no directory of that name', async () => {
    await mkdir(join(directory, 'a/b/agent_config.yaml'), { recursive: true });
    expect(findConfig(join(directory, 'a/b'))).not.toBe(join(directory, 'a/b/agent_config.yaml'));
    const outer = await write('');
    expect(findConfig(join(directory, 'a/b'))).toBe(outer);
    const inner = await write('', 'a/agent_config.yaml');
    expect(findConfig(join(directory, 'a/b'))).toBe(inner);
    expect(findConfig(join(directory, 'a/none/there'))).toBe(inner);
  });
});

describe('loadConfig', () => {
  it('gives the configuration, where it is from, and warnings', async () => {
    const file = await write('state: { backend: memory, ttl: "${TTL}", url: x }\n');
    const loaded = await loadConfig({ cwd: join(directory), env: { TTL: '5' } });
    expect(loaded).toMatchObject({ file, directory, config: { state: { backend: 'memory', ttl: 5 } } });
    expect(loaded.warnings).toMatchObject([{ code: 'OPTION_UNUSED', path: 'state.url' }]);
    expect(loaded.document.locate(['state', 'ttl'])).toMatchObject({ line: 1, column: 32 });
    expect(await loadConfig({ file: 'agent_config.yaml', cwd: directory, env: { TTL: '6' } })).toMatchObject({
      file,
      config: { state: { ttl: 6 } },
    });
  });

  it('reads the environment of the process by default', async () => {
    await write('agent: { name: "${PATH}" }\n');
    expect((await loadConfig({ cwd: directory })).config.agent.name).toBe(process.env['PATH']);
  });

  it('says where it looked', async () => {
    expect(await failureOf(loadConfig({ file: 'gone.yaml', cwd: directory }))).toMatchObject({
      code: 'CONFIG_NOT_FOUND',
      details: { path: join(directory, 'gone.yaml'), fix: expect.stringMatching(/^correct the path/) },
    });
    expect(await failureOf(loadConfig({ file: directory }))).toMatchObject({ code: 'CONFIG_NOT_FOUND' });
    expect(await failureOf(loadConfig({ cwd: '/' }))).toMatchObject({
      code: 'CONFIG_NOT_FOUND',
      details: { path: '/', fix: expect.stringMatching(/^run `npx agentup init`/) },
    });
  });

  it('fails with all findings, listed in its message, without secrets', async () => {
    const file = await write(
      'state:\n  backend: valky\n  url: http://ana:s3cret@h\n  ttl: 0\nsync:\n  api_key: s3cret\n',
    );
    const error = await failureOf(loadConfig({ cwd: directory, env: {} }));
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', details: { file, line: 2, column: 12 } });
    expect((error.details.issues as Finding[]).map(({ code }) => code)).toEqual([
      'BACKEND_UNKNOWN',
      'URL_INVALID',
      'TTL_INVALID',
      'SECRET_IN_FILE',
    ]);
    expect(error.message).toBe(
      [
        'agent_config.yaml has 3 errors:',
        '  2:12 state.backend must be one of memory, file, valkey, not the text "valky" (did you mean `valkey`?)',
        '  3:8 state.url: the URL http://ana:***@h has the scheme http, which is not one of valkey, valkeys, redis, rediss (write valkey://host:6379, with user:password@ before the host and /1 for another database where needed)',
        '  4:8 state.ttl must be a whole number of seconds from 1 on, or none, not 0 (write `none` to keep conversations for ever)',
      ].join('\n'),
    );
    expect(JSON.stringify(error) + error.message).not.toContain('s3cret');
  });
});

describe('validateConfigFile', () => {
  it.each([
    ['Latin-1', Buffer.from('agent:\n  name: caf\xe9 # here\n', 'latin1'), 2, 12],
    ['a cut character', Buffer.from([0x61, 0x3a, 0x20, 0xf0, 0x9f]), 1, 4],
    ['UTF-16', Buffer.from('\uFEFFagent: {}\n', 'utf16le'), 1, 1],
    ['a picture', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), 1, 1],
  ])('refuses a file that is not UTF-8: %s', async (_, bytes, line, column) => {
    await write(bytes);
    expect(validateConfigFile({ cwd: directory }).findings).toMatchObject([{ code: 'NOT_UTF8', line, column }]);
  });

  it('tells a file that cannot be read from one that is missing', async () => {
    const file = await write('agent: {}\n');
    chmodSync(file, 0o000);
    chmodSync(directory, 0o755);
    expect(validateAsNobody()).toMatchObject([{ code: 'FILE_UNREADABLE', frame: '' }]);
  });
});

describe('storage_dir', () => {
  const codes = async (storageDir: string): Promise<string[]> => {
    await write(`state: { backend: file, storage_dir: ${JSON.stringify(storageDir)} }\n`);
    return validateConfigFile({ cwd: directory, env: {} }).findings.map(({ code, path }) => `${code} ${path}`);
  };

  it('may be there, or be made', async () => {
    await mkdir(join(directory, 'there'));
    for (const name of ['there', './there/', 'a/b/c', join(directory, 'absolute'), '../elsewhere', '.']) {
      expect(await codes(name)).toEqual([]);
    }
  });

  it('must not be a file, nor lie below one', async () => {
    await write('', 'file');
    for (const name of ['file', 'file/below', 'file/far/below', '\0']) {
      expect(await codes(name)).toEqual(['STORAGE_DIR_UNWRITABLE state.storage_dir']);
    }
  });

  it('must be writable', async () => {
    await write('state: { backend: file, storage_dir: ./closed/states }\n');
    await mkdir(join(directory, 'closed'), { mode: 0o555 });
    chmodSync(directory, 0o755);
    const [finding] = validateAsNobody();
    expect(finding).toMatchObject({ code: 'STORAGE_DIR_UNWRITABLE', path: 'state.storage_dir', line: 1 });
    expect(finding?.message).toContain(`${join(directory, 'closed')} is not writable (EACCES)`);
  });

  it('matters to the file backend only, also where it is only a default', async () => {
    await write('', 'conversation_states');
    await write('agent: {}\n');
    expect(validateConfigFile({ cwd: directory }).findings).toMatchObject([
      { code: 'STORAGE_DIR_UNWRITABLE', path: 'state.storage_dir' },
    ]);
    await write('state: { backend: memory }\n');
    expect(validateConfigFile({ cwd: directory }).findings).toEqual([]);
  });
});

/** Validates as a user without rights: root may do everything. */
function validateAsNobody(): Finding[] {
  // The rights go after the module is there, which may lie where only root may read.
  const script = `
    const { validateConfigFile } = await import(${JSON.stringify(join(process.cwd(), 'src/config/index.ts'))});
    if (process.getuid?.() === 0) {
      process.setgroups([]);
      process.setgid(65534);
      process.setuid(65534);
    }
    console.log(JSON.stringify(validateConfigFile({ cwd: ${JSON.stringify(directory)} }).findings));`;
  const ran = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  if (ran.status !== 0) throw new Error(ran.stderr);
  return JSON.parse(ran.stdout) as Finding[];
}

describe('parseConfig', () => {
  it('gives an object its defaults, and does not touch it', () => {
    const input = Object.freeze({ skills: [{ id: 'a', handler: './a.ts' }], state: { backend: 'memory' as const } });
    expect(parseConfig(input)).toMatchObject({
      agent: { name: 'agent' },
      skills: [{ id: 'a', keywords: [], priority: 0 }],
      state: { backend: 'memory', lease: 30 },
    });
    expect(parseConfig({}).state.backend).toBe('file');
  });

  it('takes texts as they are', () => {
    expect(parseConfig({ agent: { name: '${NAME}' } }).agent.name).toBe('${NAME}');
  });

  it('finds what is wrong with it, as in a file', () => {
    const wrong = {
      skills: [{ id: 'A', handler: 'x', patterns: ['('] }],
      state: { backend: 'valkey', ttl: '5', more: 1 },
    };
    try {
      parseConfig(wrong as never);
      expect.fail('it was taken');
    } catch (error) {
      expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
      const issues = (error as AgentUpError).details.issues as Finding[];
      expect(issues.map(({ code }) => code).sort()).toEqual([
        'KEY_PREFIX_MISSING',
        'PATTERN_INVALID',
        'SKILL_ID_INVALID',
        'TTL_INVALID',
        'UNKNOWN_KEY',
        'URL_MISSING',
      ]);
      expect((error as Error).message).toMatch(/^the configuration has 6 errors:\n {2}[a-z]/);
    }
    expect(() => parseConfig(null as never)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(() => parseConfig({ state: { ttl: Number.NaN } })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });

  it('has the same longest ttl as the storages', () => {
    expect(parseConfig({ state: { ttl: MAX_TTL } }).state.ttl).toBe(MAX_TTL);
    expect(() => parseConfig({ state: { ttl: MAX_TTL + 1 } })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});
