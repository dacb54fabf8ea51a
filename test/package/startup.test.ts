import { afterAll, beforeAll, expect, it } from 'vitest';
import { type LinkedProject, linkedProject } from '../support/linked-project.js';

let project: LinkedProject;
beforeAll(async () => {
  project = await linkedProject();
  await project.write({
    // Says which packages are loaded.
    'spy.mjs': `import { createRequire, register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent('export async function load(url, context, next) {' +
        'if (url.includes("/node_modules/")) console.log(url.split("/node_modules/").pop());' +
        'return next(url, context); }'));`,
    'main.mjs': `import { MemoryStorage, withState } from 'agentup';
      const storage = new MemoryStorage();
      const handler = withState(async (task, context, id) => context.incrementVariable(id, 'n'), { storage });
      console.log('answer ' + await handler({ id: 't', contextId: 'c', text: '' }));`,
  });
});
afterAll(() => project.remove());

it('a program that imports agentup loads nothing that it does not use: no client, no server, no schemas', async () => {
  const { stdout, stderr, code } = await project.node(['--import', './spy.mjs', 'main.mjs']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain('answer 1');
  const packages = new Set([...stdout.matchAll(/^(@[\w-]+\/[\w-]+|[\w-]+)\//gm)].map(([, name]) => name));
  // Where a project has it, that is to be asked.
  packages.delete('@opentelemetry/api');
  expect([...packages]).toEqual(['reflect-metadata']);
});
