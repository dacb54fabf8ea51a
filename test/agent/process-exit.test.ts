import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { valkeyUrl } from '../support/index.js';
import { type LinkedProject, linkedProject } from '../support/linked-project.js';

let project: LinkedProject;
beforeEach(async () => {
  project = await linkedProject();
});
afterEach(() => project.remove());

describe('a process that used a handler and closed nothing', () => {
  it.each(['memory', 'file', 'valkey'] as const)('ends by itself, on %s, with everything written', async (storage) => {
    const keyPrefix = `exit-${Date.now()}:`;
    await project.write({
      'main.mjs': `
        import { withState } from 'agentup';
        const options = ${JSON.stringify({ storage, ...(storage === 'valkey' && { url: valkeyUrl(), keyPrefix }) })};
        const count = withState((task, context, id) => context.incrementVariable(id, 'n'), options);
        await count({ id: 't', text: '' });
        process.stdout.write(String(await count({ id: 't', text: '' })));
      `,
    });
    const begin = performance.now();
    expect(await project.node(['main.mjs'])).toEqual({ code: 0, stdout: '2', stderr: '' });
    expect(performance.now() - begin).toBeLessThan(10_000);
    if (storage !== 'memory') expect(await project.node(['main.mjs'])).toMatchObject({ stdout: '4' });
  });
});
