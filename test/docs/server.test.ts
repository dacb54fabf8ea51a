import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { validateConfigText } from '../../src/config/index.js';
import { type LinkedProject, linkedProject } from '../support/linked-project.js';
import { snippetsOf } from '../support/snippets.js';

let project: LinkedProject;
beforeEach(async () => {
  project = await linkedProject();
});
afterEach(() => project.remove());

describe('docs/server.md', async () => {
  const snippets = await snippetsOf('docs/server.md');
  const [skills, main] = snippets.filter(({ language }) => language === 'ts');
  const [shell] = snippets.filter(({ language }) => language === 'sh');

  it('shows skills, a program and a request that work together', async () => {
    const body = /-d '(?<body>[\s\S]*?)'/.exec(shell?.code ?? '')?.groups?.['body'] ?? '';
    const ask = (text: string): string => `
      const said = ${body};
      said.params.message.parts = [{ text: ${JSON.stringify(text)} }];
      said.params.message.messageId = ${JSON.stringify(text)};
      const answer = await fetch(server.url + '/a2a/jsonrpc', {
        method: 'POST', headers: { 'Content-Type': 'application/json', 'A2A-Version': '1.0' }, body: JSON.stringify(said),
      });
      console.log(await answer.text());`;
    await project.write({
      'skills.ts': skills?.code ?? '',
      'agent_config.yaml': `agent: { default_skill: pizza }\nskills:\n  - { id: pizza, handler: ./skills.ts#Pizza }\n  - { id: story, handler: ./skills.ts#Story, keywords: [dragons] }\nstate: { backend: memory }\n`,
      'main.ts': (main?.code ?? '').replace(
        'await server.stop();',
        `{ ${ask('hungry')} }\n{ ${ask('dragons')} }\nawait server.stop();`,
      ),
    });
    const { code, stderr, stdout } = await project.compiled('main.ts');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [url, asked, told] = stdout.trim().split('\n');
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(asked).toContain('Which size?');
    expect(asked).toContain('TASK_STATE_INPUT_REQUIRED');
    expect(told).toContain('there was dragons.');
  });

  it('shows configurations that are right', () => {
    const env = { ANA_KEY: 'k', BEN_KEY_SHA256: 'a'.repeat(64) };
    for (const { code } of snippets.filter(({ language }) => language === 'yaml')) {
      expect(validateConfigText(code, { env }).findings).toEqual([]);
    }
  });
});
