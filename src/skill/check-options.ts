import { AgentUpError } from '../errors.js';
import { redactUrl } from '../redact.js';
import { checkTtl } from '../storage/changes.js';
import { isStorage } from '../storage/check-storage.js';
import type { StatefulOptions } from './stateful-options.js';

/** What a value of an option has to be, and whether it is. */
interface Rule {
  readonly wanted: string;
  readonly holds: (value: unknown) => boolean;
}

const RULES: Readonly<Record<Exclude<keyof StatefulOptions, 'ttl'>, Rule>> = {
  storage: {
    wanted: "'memory', 'file', 'valkey', or an object that implements StateStorage",
    holds: (value) => isOneOf(['memory', 'file', 'valkey'])(value) || isStorage(value),
  },
  // What it must look like depends on `state.cluster`, which is not known here.
  url: text('a text like valkey://host:6379'),
  keyPrefix: text('a text that every key begins with'),
  storageDir: text('the path of a directory'),
  concurrency: oneOf('serial', 'parallel'),
  scope: oneOf('conversation', 'user', 'session'),
  history: {
    wanted: 'a whole number from 0 on',
    holds: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  },
  contextId: { wanted: 'a function that is given the task', holds: (value) => typeof value === 'function' },
  dedupe: {
    wanted: 'a function that is given the task, or false',
    holds: (value) => typeof value === 'function' || value === false,
  },
  onUnavailable: oneOf('fail', 'degrade'),
};
const NAMES: readonly string[] = ['ttl', ...Object.keys(RULES)];
/** What the configuration calls them, where that is another word. */
const CONFIGURED: Readonly<Record<string, string>> = { backend: 'storage' };

/**
 * Refuses options of a handler when it is defined, and not when its first message comes.
 * @param of what they were given to: `@stateful()`
 * @param names those that there are; by default all
 * @throws INVALID_ARGUMENT, TTL_INVALID naming the option
 */
export function checkOptions(options: unknown, of: string, names: readonly string[] = NAMES): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new AgentUpError('INVALID_ARGUMENT', `${of} takes its options as an object`, { argument: 'options' });
  }
  for (const [name, value] of Object.entries(options)) {
    if (!names.includes(name)) {
      const near = CONFIGURED[name] ?? names.find((known) => bare(known) === bare(name));
      throw new AgentUpError('INVALID_ARGUMENT', `${of} has no option ${JSON.stringify(name)}`, {
        argument: name,
        fix: near === undefined ? `use one of ${names.join(', ')}` : `write \`${near}\``,
      });
    }
    if (value === undefined) continue;
    if (name === 'ttl') checkTtl(value);
    const rule = RULES[name as keyof typeof RULES];
    if (!rule || rule.holds(value)) continue;
    throw new AgentUpError('INVALID_ARGUMENT', `${of} has ${name} ${shown(value)}; it is ${rule.wanted}`, {
      argument: name,
      fix: `give \`${name}\` ${rule.wanted}, or leave it out`,
    });
  }
}

function oneOf(...values: string[]): Rule {
  return { wanted: values.map((value) => `'${value}'`).join(' or '), holds: isOneOf(values) };
}

function isOneOf(values: readonly string[]): (value: unknown) => boolean {
  return (value) => typeof value === 'string' && values.includes(value);
}

function text(wanted: string): Rule {
  return { wanted, holds: (value) => typeof value === 'string' && value !== '' };
}

/** `key_prefix` means `keyPrefix`. */
function bare(name: string): string {
  return name.replace(/[_-]/g, '').toLowerCase();
}

/** Nothing long, and no secret: a url may have been given to the wrong option. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(redactUrl(value).slice(0, 60));
  return typeof value === 'number' || typeof value === 'boolean' || value === null ? String(value) : typeof value;
}
