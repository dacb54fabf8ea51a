import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkSkills } from '../../src/agent/check-skills.js';
import {
  configReference,
  FINDING_CODES,
  referenceMarkdown,
  validateConfigFile,
  validateConfigText,
} from '../../src/config/index.js';

const text = await readFile('docs/configuration.md', 'utf8');

/** What stands between two marks of the document. */
function region(name: string): string {
  const found = new RegExp(`<!-- begin: ${name} -->\n(?<inside>.*)<!-- end: ${name} -->`, 's').exec(text);
  return found?.groups?.['inside'] ?? '';
}

/** The example below the heading of a code. */
function exampleOf(code: string): string | undefined {
  const section = text.split('#### ').find((part) => part.startsWith(`\`${code}\``));
  return section === undefined ? undefined : (/```yaml\n(?<yaml>.*?)```/s.exec(section)?.groups?.['yaml'] ?? '');
}

describe('docs/configuration.md', () => {
  // Out of date? referenceMarkdown() of src/config/reference.ts prints both regions.
  it('has the reference as the schema has it', () => {
    expect(region('keys')).toBe(referenceMarkdown().keys);
    expect(region('codes')).toBe(referenceMarkdown().codes);
  });

  it('names every key and every finding code', () => {
    for (const { path } of configReference()) expect(text).toContain(`\`${path}\``);
    for (const code of Object.keys(FINDING_CODES)) expect(exampleOf(code), code).toBeDefined();
    expect([...text.matchAll(/^#### `(\w+)`/gm)].map(([, code]) => code)).toEqual(Object.keys(FINDING_CODES));
  });

  it('begins with a configuration that is right', () => {
    const first = /```yaml\n(?<yaml>.*?)```/s.exec(text)?.groups?.['yaml'] ?? '';
    expect(validateConfigText(first, { env: {} })).toMatchObject({
      findings: [],
      config: { state: { backend: 'valkey', ttl: 7200 } },
    });
  });

  describe('an example', () => {
    let directory: string;
    const source = (file: string) => JSON.stringify(join(process.cwd(), 'src/skill', file));
    const statefulFile = (id: string, options: string) => `
      import { injected } from ${source('injected.js')};
      import { skill } from ${source('skill.js')};
      import { stateful } from ${source('stateful.js')};
      @skill({ id: '${id}' })
      export class Handler {
        @stateful(${options})
        async handle(task: any, context: any = injected(), contextId: string = injected()) { return ''; }
      }`;

    const toolFile = (id: string) => `
      import { tool } from ${source('tool.js')};
      ${statefulFile(id, '').replace(/\}\s*$/, "@tool({ description: 'Searches' }) async search() { return ''; } }")}`;

    beforeAll(async () => {
      directory = await realpath(await mkdtemp(join(tmpdir(), 'agentup-docs-')));
      await mkdir(join(directory, 'skills'));
      const files = {
        'tsconfig.json': '{ "compilerOptions": { "experimentalDecorators": true } }',
        'skills/memory.ts': statefulFile('memory', ''),
        'skills/forgetful.ts': statefulFile('forgetful', "{ storage: 'memory' }"),
        'skills/shared.ts': statefulFile('shared', "{ storage: 'valkey' }"),
        'skills/orders.ts': toolFile('orders'),
        'skills/products.ts': toolFile('products'),
        'skills/plain.ts': 'export class Plain {}',
        'skills/broken.ts': 'export class Broken {',
      };
      for (const [name, content] of Object.entries(files)) await writeFile(join(directory, name), content);
    });
    afterAll(() => rm(directory, { recursive: true, force: true }));

    it.each(Object.keys(FINDING_CODES).filter((code) => exampleOf(code) !== ''))(
      'of %s has this finding and no other',
      async (code) => {
        await writeFile(join(directory, 'agent_config.yaml'), exampleOf(code) ?? '');
        const validation = validateConfigFile({ cwd: directory, env: {} });
        const skills = validation.config ? await checkSkills(validation) : [];
        expect([...validation.findings, ...skills].map((finding) => finding.code)).toEqual([code]);
      },
    );
  });
});
