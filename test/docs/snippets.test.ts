import { readdir, readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { validateConfigText } from '../../src/config/index.js';
import { run } from '../cli/run-cli.js';
import { valkeyUrl } from '../support/index.js';
import { type LinkedProject, linkedProject } from '../support/linked-project.js';
import { snippetsOf } from '../support/snippets.js';

let project: LinkedProject;
beforeEach(async () => {
  project = await linkedProject();
});
afterEach(() => project.remove());

/** What the comments behind `console.log` say it prints. */
function promised(code: string): string[] {
  return [...code.matchAll(/console\.log\(.*\);? \/\/ (.*)$/gm)].map(([, text = '']) => text);
}

describe('the README', async () => {
  const snippets = await snippetsOf('README.md');
  const [skill, main] = snippets.filter(({ language }) => language === 'ts');
  const [config, onValkey] = snippets.filter(({ language }) => language === 'yaml');
  const [here, own] = snippets.filter(({ language }) => language === 'sh');

  it('has no snippet that is not run here', () => {
    expect(snippets.map(({ language }) => language)).toEqual(['sh', 'sh', 'ts', 'yaml', 'yaml', 'ts']);
  });

  it('names commands that exist', async () => {
    const { scripts } = JSON.parse(await readFile('package.json', 'utf8'));
    for (const [, name = ''] of here?.code.matchAll(/^npm (?:run )?(\w+)/gm) ?? [])
      expect(scripts).toHaveProperty(name);
    expect(here?.code).toMatch(/npm run demo[\s\S]*npm test/);
  });

  it('shows a skill that works in the terminal, on files and on Valkey', async () => {
    await project.write({ 'src/skills/visits.ts': skill?.code ?? '', 'agent_config.yaml': config?.code ?? '' });
    const chat = (env: Record<string, string> = {}) =>
      project.agentup(['chat', '--context', 'ada', '--once', 'hi'], { env });
    expect(await project.agentup(['validate-config'])).toMatchObject({ code: 0 });
    expect(await chat()).toMatchObject({ stdout: 'Visit 1, theme light\n' });
    expect(await chat()).toMatchObject({ stdout: 'Visit 2, theme light\n' });
    const moved = config?.code.replace(
      /^state: .*\n/m,
      onValkey?.code.replace('my-agent:', `readme-${Date.now()}:`) ?? '',
    );
    await project.write({ 'agent_config.yaml': moved ?? '' });
    const env = { VALKEY_URL: valkeyUrl() };
    expect(await chat(env)).toMatchObject({ stdout: 'Visit 1, theme light\n' });
    expect(await chat(env)).toMatchObject({ stdout: 'Visit 2, theme light\n' });
  });

  it('shows code that prints what it says', async () => {
    await project.write({ 'src/skills/visits.ts': skill?.code ?? '', 'main.ts': main?.code ?? '' });
    expect(await project.tsx('main.ts')).toEqual({
      code: 0,
      stderr: '',
      stdout: `${promised(main?.code ?? '').join('\n')}\n`,
    });
  });

  it('says what makes that code run in a package of CommonJS, as npm init makes it', async () => {
    const files = { 'src/skills/visits.ts': skill?.code ?? '', 'main.ts': main?.code ?? '' };
    await project.write({ ...files, 'package.json': '{ "name": "x", "version": "1.0.0", "type": "commonjs" }\n' });
    expect(await project.tsx('main.ts')).toMatchObject({ stderr: expect.stringContaining('Top-level await') });
    const [, ...args] = /`(npm pkg set [^`]+)`/.exec(await readFile('README.md', 'utf8'))?.[1]?.split(' ') ?? [];
    expect(await run('npm', args, { cwd: project.directory })).toMatchObject({ status: 0 });
    expect(await project.tsx('main.ts')).toMatchObject({ code: 0, stderr: '' });
  });

  it('shows how an agent begins: created, talked to in two processes, remembered', async () => {
    const lines = own?.code.trim().split('\n') ?? [];
    expect(lines).toContain('npm install');
    const replies: string[] = [];
    for (const line of lines) {
      const agentup = /^(?:npx agentup|node bin\/agentup\.js) (.*)$/
        .exec(line)?.[1]
        ?.replace('../my-agent', 'my-agent');
      if (agentup === undefined) continue;
      const args = [...agentup.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
      const at = args[0] === 'init' ? [] : ['--config', 'my-agent/agent_config.yaml'];
      const { code, stdout, stderr } = await project.agentup([...args, ...at]);
      expect({ line, code, stderr: code === 0 ? '' : stderr }).toEqual({ line, code: 0, stderr: '' });
      if (args[0] === 'chat') replies.push(stdout);
    }
    expect(replies).toHaveLength(2);
    expect(replies[1]).toContain('Ada');
  });

  it('links to documents that exist', async () => {
    const documents = new Set((await readdir('docs')).map((name) => `docs/${name}`));
    const text = await readFile('README.md', 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\((docs\/[^)#]+)\)/g)) expect(documents).toContain(target);
    for (const document of documents) expect(text).toContain(document);
  });
});

/** Right as a key, as a secret, and as a digest. */
const SECRET = 'ab'.repeat(32);

describe.each([
  'docs/caches.md',
  'docs/conversations.md',
  'docs/encryption.md',
  'docs/lifecycle.md',
  'docs/models.md',
  'docs/operations.md',
  'docs/sync.md',
  'docs/tools.md',
])('%s', async (document) => {
  const snippets = (await snippetsOf(document)).filter(({ language }) => language === 'ts');

  it.each(snippets)('runs the snippet at line $line', async ({ code }) => {
    await project.write({ 'snippet.ts': code });
    const { code: exit, stdout, stderr } = await project.compiled('snippet.ts', { env: { STATE_KEY: SECRET } });
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    for (const line of promised(code)) expect(stdout.split('\n')).toContain(line);
  });
});

it('shows no configuration that is wrong, or that we would warn of', async () => {
  const documents = (await readdir('docs')).filter((name) => name.endsWith('.md') && name !== 'configuration.md');
  let seen = 0;
  for (const name of documents) {
    const snippets = (await snippetsOf(`docs/${name}`)).filter(({ language }) => language === 'yaml');
    for (const { code, line } of snippets) {
      const names = [...code.matchAll(/\$\{(\w+)/g)].map(([, name = '']) => name);
      const env = Object.fromEntries(
        names.map((name) => [name, name.includes('URL') ? 'valkey://localhost:6379' : SECRET]),
      );
      const { findings } = validateConfigText(code, { env });
      expect([`${name}:${line}`, ...findings.map(({ code, message }) => `${code} ${message}`)]).toHaveLength(1);
      seen++;
    }
  }
  expect(seen).toBeGreaterThan(8);
});
