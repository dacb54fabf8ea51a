import { MAX_TTL } from '../storage/changes.js';
import { BACKENDS, type BackendName } from '../storage/open-storage.js';
import { type Interview, type TextQuestion, usage } from './interview.js';
import { nameProblem } from './scaffold/names.js';
import { STATE_DEFAULTS, type StateAnswers } from './scaffold/state-answers.js';
import { durationIn } from './state/texts.js';

/** The flags that say where conversations are kept. */
export interface StateFlags {
  readonly storage?: string | undefined;
  readonly url?: string | undefined;
  readonly keyPrefix?: string | undefined;
  readonly storageDir?: string | undefined;
  readonly ttl?: string | undefined;
}

const SUMMARIES: Record<BackendName, string> = {
  file: 'files in this project, readable with any editor',
  valkey: 'a Valkey server, shared by many processes',
  memory: 'this process only; gone when it ends',
};

/** What belongs to one backend only, by flag. */
const OWNERS: readonly [keyof StateFlags, flag: string, BackendName][] = [
  ['url', '--url', 'valkey'],
  ['keyPrefix', '--key-prefix', 'valkey'],
  ['storageDir', '--storage-dir', 'file'],
];

/** Which of the flags were given. */
export function stateFlagsGiven(flags: StateFlags): string[] {
  const names: readonly (readonly [keyof StateFlags, string])[] = [
    ['storage', '--storage'],
    ...OWNERS.map(([key, flag]) => [key, flag] as const),
    ['ttl', '--ttl'],
  ];
  return names.filter(([key]) => flags[key] !== undefined).map(([, flag]) => flag);
}

/**
 * Collects where conversations are kept. What the present configuration says is the default; questions about a
 * backend's own options come only where it is a new choice.
 * @throws USAGE, CANCELLED
 */
export async function askState(
  interview: Interview,
  flags: StateFlags,
  present: StateAnswers | undefined,
): Promise<StateAnswers> {
  const backend = await interview.choice<BackendName>({
    flag: '--storage',
    message: 'Where are conversations kept?',
    given: flags.storage,
    initial: present?.backend ?? 'file',
    choices: ['file' as const, 'valkey' as const, 'memory' as const].map((value) => ({
      value,
      name: `${value}: ${SUMMARIES[value]}`,
    })),
  });
  for (const [key, flag, owner] of OWNERS) {
    if (flags[key] !== undefined && owner !== backend) throw usage(`${flag} belongs to --storage ${owner}`, flag);
  }
  const known = present?.backend === backend ? present : undefined;
  const option = async (name: keyof typeof STATE_DEFAULTS, flag: string, message: string, given: string | undefined) =>
    known && given === undefined
      ? known[name]
      : interview.text({ flag, message, given, initial: STATE_DEFAULTS[name], check: await checkOf(name) });
  const url = backend === 'valkey' ? await option('url', '--url', 'URL of the Valkey server', flags.url) : undefined;
  const key_prefix =
    backend === 'valkey'
      ? await option('key_prefix', '--key-prefix', 'Prefix of its keys there', flags.keyPrefix)
      : undefined;
  const storage_dir =
    backend === 'file'
      ? await option('storage_dir', '--storage-dir', 'Directory of the files', flags.storageDir)
      : undefined;
  const before = String(present?.ttl ?? 'none');
  const ttl = await interview.text({
    flag: '--ttl',
    message: 'Forget a conversation after how long (seconds, or 30m, 24h, 7d; none: never)?',
    given: flags.ttl,
    initial: before,
    // What is written there may refer to the environment.
    check: (text) => (text === before ? undefined : ttlProblem(text)),
  });
  return {
    backend,
    ...(url !== undefined && { url }),
    ...(key_prefix !== undefined && { key_prefix }),
    ...(storage_dir !== undefined && { storage_dir }),
    ...ttlAnswer(ttl, present),
  };
}

/** `none` is the default, so it is written down only to undo another value. */
function ttlAnswer(ttl: string, present: StateAnswers | undefined): Pick<StateAnswers, 'ttl'> {
  if (ttl === String(present?.ttl)) return { ttl: present?.ttl };
  if (ttl === 'none') return present?.ttl === undefined ? {} : { ttl };
  return { ttl: secondsOf(ttl) };
}

type Check = NonNullable<TextQuestion['check']>;

async function checkOf(name: keyof typeof STATE_DEFAULTS): Promise<Check> {
  if (name === 'storage_dir') {
    const { outsideHome } = await import('../config/check-storage-dir.js');
    return (text) => {
      const meant = outsideHome(text);
      const problem = `${JSON.stringify(text)} would be a directory called ~; write ${meant}, or the whole path`;
      return nameProblem(text, 500) ?? (meant === undefined ? undefined : problem);
    };
  }
  if (name !== 'url') return (text) => nameProblem(text, 500);
  const { urlProblem } = await import('../config/url-problem.js');
  return (text) => {
    // What the environment will say cannot be known here.
    const found = text.includes('${') ? undefined : urlProblem(text);
    return nameProblem(text, 500) ?? found;
  };
}

function ttlProblem(text: string): string | undefined {
  const seconds = secondsOf(text);
  return text === 'none' || (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_TTL)
    ? undefined
    : `${JSON.stringify(text)} is neither a whole number of seconds from 1 to ${MAX_TTL}, nor a time such as 30m, 24h or 7d, nor none`;
}

/** Seconds of `7200`, `2h`; `NaN` where it is neither. */
function secondsOf(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : (durationIn(text) ?? Number.NaN) / 1000;
}

/** Is this text the name of a backend? */
export function isBackend(text: unknown): text is BackendName {
  return (BACKENDS as readonly unknown[]).includes(text);
}
