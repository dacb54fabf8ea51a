import { resolve } from 'node:path';
import type { Path, Problem, StateConfig } from '../config/index.js';
import { urlProblem } from '../config/url-problem.js';
import { isAgentUpError } from '../errors.js';
import { redactUrl } from '../redact.js';
import type { StatefulOptions } from '../skill/stateful-options.js';
import type { LoadedSkill } from './load-skill.js';
import { resolveState } from './resolve-state.js';

/**
 * Compares what a handler says about its state with what the configuration says: whether they make a storage
 * together, and where the handler goes a way of its own.
 */
export function checkStateOptions(
  { id, handler }: LoadedSkill,
  path: Path,
  state: StateConfig | undefined,
  directory: string,
): Problem[] {
  if (handler.kind !== 'stateful' || state === undefined) return [];
  const { options } = handler;
  const problem = unresolved(state, options, directory);
  if (problem) {
    const message = `the skill ${id}: ${problem.message}`;
    return [{ code: 'STATE_UNRESOLVED', path, message, fix: problem.fix ?? 'correct the options of @stateful()' }];
  }
  const contradictions = contradictionsOf(state, options, directory);
  if (contradictions.length === 0) return [];
  return [
    {
      code: 'STATE_OVERRIDDEN',
      path,
      message: `the skill ${id} goes its own way: ${contradictions.join('; ')}`,
      fix: 'remove the options from @stateful() to follow the configuration; keep them if this is meant',
    },
  ];
}

function unresolved(
  state: StateConfig,
  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  options: StatefulOptions<any>,
  directory: string,
): { message: string; fix: string | undefined } | undefined {
  try {
    const { storage } = resolveState(state, options, directory);
    return 'url' in storage && options.url !== undefined
      ? urlProblem(storage.url, { cluster: storage.cluster === true })
      : undefined;
  } catch (error) {
    if (isAgentUpError(error)) return { message: error.message, fix: error.details.fix };
    throw error;
  }
}

/** An option that only repeats the configuration is no contradiction, and none that the other backend would need. */
function contradictionsOf(
  state: StateConfig,
  // biome-ignore lint/suspicious/noExplicitAny: options of handlers with tasks of any type
  options: StatefulOptions<any>,
  directory: string,
): string[] {
  const { storage, url, keyPrefix, storageDir } = options;
  const differences: [option: string, given: unknown, key: string, configured: unknown][] = [
    ['ttl', options.ttl, 'ttl', state.ttl ?? 'none'],
    ['concurrency', options.concurrency, 'concurrency', state.concurrency],
    ['history', options.history, 'history.load', state.history.load],
    ['onUnavailable', options.onUnavailable, 'on_unavailable', state.on_unavailable],
  ];
  if (typeof storage === 'object') {
    differences.unshift(['storage', 'an object', 'backend', state.backend]);
  } else if (storage !== undefined && storage !== state.backend) {
    differences.unshift(['storage', storage, 'backend', state.backend]);
  } else if (state.backend === 'valkey') {
    differences.push(['url', url, 'url', state.url]);
    differences.push(['keyPrefix', keyPrefix, 'key_prefix', state.key_prefix]);
  } else if (state.backend === 'file' && storageDir !== undefined) {
    const same = resolve(directory, storageDir) === resolve(directory, state.storage_dir);
    differences.push(['storageDir', storageDir, 'storage_dir', same ? storageDir : state.storage_dir]);
  }
  return differences
    .filter(([, given, , configured]) => given !== undefined && given !== configured)
    .map(
      ([option, given, key, configured]) =>
        `${option} is ${redactUrl(String(given))}, and state.${key} is ${redactUrl(String(configured))}`,
    );
}
