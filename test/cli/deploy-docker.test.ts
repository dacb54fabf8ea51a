import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { validate } from 'dockerfile-utils';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runHere } from './run-cli.js';

let cwd: string;

beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'cli-deploy-'));
});

afterEach(async () => {
  await rm(cwd, { recursive: true, force: true });
});

const VALKEY = `agent: { name: "Pizza & Co" }
state: { backend: valkey, url: "\${STORE_URL:valkey://localhost:6379}", key_prefix: "p:" }
security:
  auth: api_key
  api_keys: [{ key_sha256: "\${ANA_KEY_SHA256}", user: ana }] # not \${THIS_ONE}
`;

const deploy = async (config: string, args: readonly string[] = []) => {
  await writeFile(join(cwd, 'agent_config.yaml'), config);
  return runHere(['deploy', 'docker', ...args], { cwd });
};
const text = (name: string): Promise<string> => readFile(join(cwd, name), 'utf8');

interface Compose {
  name: string;
  services: Record<string, Record<string, unknown>>;
  volumes?: Record<string, unknown>;
}

describe('agentup deploy docker', () => {
  it.each([
    ['valkey', VALKEY],
    ['file', 'state: { backend: file, storage_dir: ./data/kept/ }\n'],
    ['memory', 'state: { backend: memory }\n'],
  ])('writes a Dockerfile that a linter has nothing against, on %s', async (_, config) => {
    expect(await deploy(config)).toMatchObject({ status: 0 });
    const problems = validate(await text('Dockerfile')).map(({ message, range }) => `${range.start.line}: ${message}`);
    expect(problems).toEqual([]);
    const dockerfile = await text('Dockerfile');
    expect(dockerfile).not.toContain('template-');
    expect(dockerfile.indexOf('USER node')).toBeGreaterThan(0);
    // As JSON: a shell in between would keep the signal to stop from the agent.
    expect(dockerfile.match(/^CMD \[.*"run", "--host", "0.0.0.0".*\]$/m)).not.toBeNull();
    // Also in the directories below: what is copied into an image, everybody who has the image can read.
    const ignored = (await text('.dockerignore')).split('\n');
    expect(ignored).toEqual(expect.arrayContaining(['**/.env', '**/.env.*', '**/.npmrc', '**/node_modules']));
    // As `agentup state export` is shown to write them: the conversations of everybody.
    expect(ignored).toEqual(expect.arrayContaining(['**/*.ndjson', '**/*.ndjson.gz']));
  });

  it('has the agent wait for a Valkey that keeps what it is told, and takes secrets from outside', async () => {
    await deploy(VALKEY);
    const { name, services, volumes } = parse(await text('compose.yaml')) as Compose;
    expect(name).toBe('pizza-co');
    expect(services['agent']).toMatchObject({
      ports: ['8000:8000'],
      environment: {
        STORE_URL: 'valkey://valkey:6379',
        ANA_KEY_SHA256: '${ANA_KEY_SHA256:?set ANA_KEY_SHA256, for example in .env}',
      },
      depends_on: { valkey: { condition: 'service_healthy' } },
    });
    expect(Object.keys(services['agent']?.['environment'] as object)).toHaveLength(2);
    expect(services['agent']).not.toHaveProperty('command');
    expect(services['valkey']).toMatchObject({ volumes: ['conversations:/data'] });
    expect(services['valkey']?.['command']).toContain('--appendonly');
    expect(volumes).toEqual({ conversations: {} });
  });

  it('keeps files in a volume, and serves this machine only where nobody is asked who they are', async () => {
    await deploy('state: { backend: file, storage_dir: ./data/kept/ }\n');
    const { services } = parse(await text('compose.yaml')) as Compose;
    expect(services['agent']).toMatchObject({
      ports: ['127.0.0.1:8000:8000'],
      volumes: ['conversations:/app/data/kept'],
    });
    expect(services['agent']?.['command']).toContain('--allow-anonymous');
    expect(services).not.toHaveProperty('valkey');
    expect(await text('Dockerfile')).toContain('mkdir -p data/kept && chown node:node data/kept');
  });

  it('gives running turns the time that the configuration gives them, and more for what comes after', async () => {
    const grace = async () => (parse(await text('compose.yaml')) as Compose).services['agent']?.['stop_grace_period'];
    await deploy(VALKEY);
    expect(await grace()).toBe('35s');
    await deploy(`${VALKEY}server: { stop_timeout: 120 }\n`, ['--force']);
    expect(await grace()).toBe('145s');
  });

  it('writes a compose file that means the same to readers of YAML 1.1, where a bare yes is a boolean', async () => {
    await deploy(VALKEY);
    const written = await text('compose.yaml');
    expect(parse(written, { version: '1.1' })).toEqual(parse(written));
  });

  it('says again that nothing changes, does not replace what is there, and shows what it would do', async () => {
    expect(await deploy(VALKEY, ['--dry-run'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('would be'),
    });
    await expect(text('Dockerfile')).rejects.toThrow();
    await deploy(VALKEY);
    expect((await deploy(VALKEY)).stdout).toMatch(/unchanged.*Dockerfile/);
    await writeFile(join(cwd, 'Dockerfile'), 'FROM scratch\n');
    expect(await deploy(VALKEY)).toMatchObject({ status: 4 });
    expect(await text('Dockerfile')).toBe('FROM scratch\n');
    expect(await deploy(VALKEY, ['--force'])).toMatchObject({ status: 0 });
    expect(JSON.parse((await deploy(VALKEY, ['--json'])).stdout)).toMatchObject({
      dryRun: false,
      files: [{ path: 'Dockerfile', action: 'unchanged' }, {}, {}],
    });
  });

  it('warns of dependencies that the build of the image cannot reach', async () => {
    const dependencies = { agentup: 'file:../agentup', other: '1.0.0' };
    await writeFile(join(cwd, 'package.json'), JSON.stringify({ dependencies }));
    expect((await deploy(VALKEY)).stderr).toContain('package.json takes agentup from this machine');
    await writeFile(join(cwd, 'package.json'), JSON.stringify({ dependencies: { agentup: '1.0.0' } }));
    expect((await deploy(VALKEY)).stderr).not.toContain('from this machine');
  });

  it('warns where the card would not know how clients reach the agent', async () => {
    expect((await deploy(VALKEY)).stderr).toContain('server.url is not set');
    expect((await deploy(`${VALKEY}server: { url: "https://pizza.example" }\n`)).stderr).not.toContain('server.url');
  });

  it('refuses conversations outside the project, and warns of a memory that is lost and a url that is fixed', async () => {
    expect(await deploy('state: { storage_dir: ../elsewhere }\n')).toMatchObject({ status: 2 });
    expect(await deploy('state: { backend: memory }\n')).toMatchObject({
      stderr: expect.stringContaining('forgets everything'),
    });
    await rm(join(cwd, 'compose.yaml'));
    expect(await deploy('state: { backend: valkey, url: "valkey://here", key_prefix: "p:" }\n')).toMatchObject({
      stderr: expect.stringContaining('state.url is fixed'),
    });
    expect(await runHere(['deploy', 'docker', '--cwd', tmpdir()], { cwd })).toMatchObject({ status: 3 });
  });
});
