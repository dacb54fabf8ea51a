import { describe, expect, it } from 'vitest';
import { mergeGitignore, mergePackage } from '../../../src/cli/scaffold/merge.js';

const planned = JSON.stringify({
  name: 'ours',
  type: 'module',
  scripts: { test: 'vitest run', chat: 'agentup chat' },
  dependencies: { agentup: '^1.0.0' },
  devDependencies: { vitest: '4.0.0', typescript: '7.0.0' },
});

function merged(existing: unknown, indent: string | number = 2): Record<string, unknown> {
  const result = mergePackage(JSON.stringify(existing, null, indent), planned);
  if (!('text' in result)) throw new Error(result.problem);
  return JSON.parse(result.text) as Record<string, unknown>;
}

describe('mergePackage', () => {
  it('adds what is missing and keeps what is there', () => {
    const result = merged({
      name: 'theirs',
      scripts: { test: 'jest' },
      dependencies: { agentup: 'file:..', typescript: '6.0.0' },
    });
    expect(result).toEqual({
      name: 'theirs',
      scripts: { test: 'jest', chat: 'agentup chat' },
      dependencies: { agentup: 'file:..', typescript: '6.0.0' },
      devDependencies: { vitest: '4.0.0' },
    });
  });

  it.each<[{ type?: string }]>([[{ type: 'commonjs' }], [{ type: 'module' }], [{}]])(
    'leaves the type of modules as it is: %j',
    (existing) => {
      expect(merged(existing)['type']).toBe(existing.type);
    },
  );

  it('takes the test that npm init writes for none', () => {
    const result = merged({ scripts: { test: 'echo "Error: no test specified" && exit 1' } });
    expect(result['scripts']).toEqual({ test: 'vitest run', chat: 'agentup chat' });
  });

  it('changes nothing the second time, not even the spelling', () => {
    const first = mergePackage('{\n\t"name": "x"\n}', planned);
    if (!('text' in first)) throw new Error('not merged');
    expect(first.text).toContain('\n\t"scripts"');
    expect(mergePackage(first.text, planned)).toEqual(first);
  });

  it.each(['not json', '[]', 'null'])('refuses %s', (existing) => {
    expect(mergePackage(existing, planned)).toHaveProperty('problem');
  });
});

describe('mergeGitignore', () => {
  it('adds the missing lines only', () => {
    expect(mergeGitignore('/node_modules\n*.log', 'node_modules/\n.env\n')).toBe('/node_modules\n*.log\n.env\n');
    expect(mergeGitignore('node_modules\n.env\n', 'node_modules/\n.env\n')).toBe('node_modules\n.env\n');
  });
});
