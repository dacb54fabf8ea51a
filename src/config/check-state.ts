import { resolve } from 'node:path';
import { outsideHome, storageDirProblem } from './check-storage-dir.js';
import type { Path, Problem } from './finding.js';
import { noteOf, shapeOf } from './inspect-schema.js';
import { BACKEND_OPTIONS, BACKENDS, configSchema } from './schema.js';
import { valueAt } from './schema-problems.js';
import { urlProblem } from './url-problem.js';

export interface StateCheck {
  /** The values of the configuration, not yet known to fit the schema. */
  readonly value: unknown;
  /** Values that are not known, because a problem has been reported there. */
  readonly isUnknown: (path: Path) => boolean;
  /** What a relative `storage_dir` starts from; without it only an absolute one is looked at. */
  readonly directory: string | undefined;
}

type Backend = (typeof BACKENDS)[number];

/** What the schema cannot say about `state`: which options the backend needs, and whether they lead anywhere. */
export function stateProblems({ value, isUnknown, directory }: StateCheck): Problem[] {
  const backend = backendOf(value, isUnknown);
  if (backend === undefined) return urlProblems(value, isUnknown);
  const problems: Problem[] = [];
  if (backend === 'valkey') {
    if (isMissing(value, ['state', 'url'])) problems.push(missingUrl(value));
    if (isMissing(value, ['state', 'key_prefix'])) problems.push(missingPrefix());
    problems.push(...urlProblems(value, isUnknown));
  }
  for (const option of new Set(Object.values(BACKEND_OPTIONS).flat())) {
    if (BACKEND_OPTIONS[backend].includes(option) || valueAt(value, ['state', option]) === undefined) continue;
    const owners = BACKENDS.filter((name) => BACKEND_OPTIONS[name].includes(option));
    problems.push({
      code: 'OPTION_UNUSED',
      path: ['state', option],
      onKey: true,
      message: `state.${option} is an option of the backend ${owners.join(' and of ')}; with ${backend} it does nothing`,
      fix: `remove it, or write \`backend: ${owners[0]}\``,
    });
  }
  problems.push(...durabilityProblems(value, backend));
  if (backend === 'file') problems.push(...storageDirProblems(value, isUnknown, directory));
  return problems;
}

/** The backend in force, where that is certain. */
function backendOf(value: unknown, isUnknown: StateCheck['isUnknown']): Backend | undefined {
  if (isUnknown([]) || isUnknown(['state']) || isUnknown(['state', 'backend'])) return undefined;
  const state = valueAt(value, ['state']) ?? {};
  if (typeof state !== 'object' || Array.isArray(state)) return undefined;
  const written = valueAt(state, ['backend']);
  const backend = written === undefined ? defaultOf('backend') : written;
  return BACKENDS.find((name) => name === backend);
}

function isMissing(value: unknown, path: Path): boolean {
  return valueAt(value, path) === undefined;
}

function urlProblems(value: unknown, isUnknown: StateCheck['isUnknown']): Problem[] {
  const path = ['state', 'url'];
  const url = valueAt(value, path);
  if (typeof url !== 'string' || url === '' || isUnknown(path)) return [];
  const problem = urlProblem(url, { cluster: valueAt(value, ['state', 'cluster']) === true });
  return problem ? [{ code: 'URL_INVALID', path, message: `state.url: ${problem.message}`, fix: problem.fix }] : [];
}

/** Files are flushed, Valkey has replicas: the form of one backend says nothing to the other. */
function durabilityProblems(value: unknown, backend: Backend): Problem[] {
  const path = ['state', 'durability'];
  const form = typeof valueAt(value, path);
  if (backend === 'valkey' && form === 'string') {
    return [
      {
        code: 'INVALID_VALUE',
        path,
        message:
          'state.durability: never, interval and commit are for files; when a Valkey server flushes is its own business',
        fix: 'write `{ replicas: 1 }` for commits that survive their primary, or remove it',
      },
    ];
  }
  if (backend === 'file' && form === 'object') {
    return [
      {
        code: 'INVALID_VALUE',
        path,
        message: 'state.durability: files have no replicas, those are of the backend valkey',
        fix: 'use one of never, interval, commit',
      },
    ];
  }
  return [];
}

function missingUrl(value: unknown): Problem {
  const services = valueAt(value, ['services']);
  const service = Object.entries(typeof services === 'object' && services !== null ? services : {}).find(
    ([name, entry]) => name === 'valkey' || valueAt(entry, ['type']) === 'valkey',
  );
  return {
    code: 'URL_MISSING',
    path: ['state', 'url'],
    at: ['state', 'backend'],
    message: service
      ? `the backend valkey needs state.url; services.${service[0]} is for caches and skills and never stands in for it`
      : 'the backend valkey needs state.url',
    fix: 'add `url: "${VALKEY_URL:valkey://localhost:6379}"` under `state`',
  };
}

function missingPrefix(): Problem {
  return {
    code: 'KEY_PREFIX_MISSING',
    path: ['state', 'key_prefix'],
    at: ['state', 'backend'],
    message: 'the backend valkey needs state.key_prefix, so that agents on one server never meet',
    fix: 'add `key_prefix: "agentup:state:"` under `state`',
  };
}

function storageDirProblems(
  value: unknown,
  isUnknown: StateCheck['isUnknown'],
  directory: string | undefined,
): Problem[] {
  const path = ['state', 'storage_dir'];
  const written = valueAt(value, path) ?? defaultOf('storage_dir');
  if (typeof written !== 'string' || written === '' || isUnknown(path)) return [];
  const meant = outsideHome(written);
  if (meant !== undefined) {
    const message = `state.storage_dir, ${written}, would be a directory called ~`;
    return [{ code: 'INVALID_VALUE', path, message, fix: `write \`"${meant}"\`, or the whole path` }];
  }
  const resolved = directory === undefined ? written : resolve(directory, written);
  if (directory === undefined && resolve(written) !== written) return [];
  const problem = storageDirProblem(resolved);
  return problem === undefined
    ? []
    : [
        {
          code: 'STORAGE_DIR_UNWRITABLE',
          path,
          message: `state.storage_dir, ${resolved}, cannot be used: ${problem}`,
          fix: 'name a directory that this user may write to',
        },
      ];
}

function defaultOf(option: string): unknown {
  const schema = shapeOf(configSchema.shape.state)[option];
  return schema && noteOf(schema).default;
}
