import type { Path, Problem } from './finding.js';
import { CACHE_SERVICE_TYPES } from './schema.js';
import { valueAt } from './schema-problems.js';
import { closest } from './suggest.js';
import { urlProblem } from './url-problem.js';

export interface CachesCheck {
  /** The values of the configuration, not yet known to fit the schema. */
  readonly value: unknown;
  /** Values that are not known, because a problem has been reported there. */
  readonly isUnknown: (path: Path) => boolean;
  /** Sections may be missing because they could not be read. */
  readonly partial: boolean;
}

/** What the schema cannot say about `caches`: whether the service is there, is a Valkey server, and can be reached. */
export function cachesProblems({ value, isUnknown, partial }: CachesCheck): Problem[] {
  const path = ['caches', 'service'];
  const name = valueAt(value, path);
  if (typeof name !== 'string' || name === '' || isUnknown(path) || isUnknown(['services'])) return [];
  const services = valueAt(value, ['services']) ?? {};
  if (typeof services !== 'object' || Array.isArray(services)) return [];
  const service = Object.hasOwn(services, name) ? valueAt(services, [name]) : undefined;
  if (service === undefined) return partial || isUnknown(['services', name]) ? [] : [unknownService(name, services)];
  const type = valueAt(service, ['type']);
  if (typeof type !== 'string' || isUnknown(['services', name, 'type'])) return [];
  if (!(CACHE_SERVICE_TYPES as readonly string[]).includes(type)) {
    return [
      {
        code: 'SERVICE_TYPE',
        path: ['services', name, 'type'],
        message: `caches.service names services.${name}, which is of the type ${JSON.stringify(type)}; caches are kept on a Valkey server`,
        fix: `write \`type: ${closest(type, CACHE_SERVICE_TYPES) ?? 'valkey'}\` if it is one, or name another service`,
      },
    ];
  }
  return reachProblems(service, name, isUnknown);
}

function unknownService(name: string, services: object): Problem {
  const names = Object.keys(services);
  const near = closest(name, names);
  const known = names.length > 0 ? `name one of ${names.join(', ')}` : 'add it under `services`';
  return {
    code: 'SERVICE_UNKNOWN',
    path: ['caches', 'service'],
    message: `caches.service is ${JSON.stringify(name)}, and services has none of that name`,
    fix: near === undefined ? known : `did you mean \`${near}\`?`,
  };
}

function reachProblems(service: unknown, name: string, isUnknown: CachesCheck['isUnknown']): Problem[] {
  const at = (key: string): Path => ['services', name, 'config', key];
  const read = (key: string): unknown => valueAt(service, ['config', key]);
  if (
    isUnknown(['services', name, 'config']) ||
    ['url', 'db', 'cluster', 'key_prefix'].some((key) => isUnknown(at(key)))
  ) {
    return [];
  }
  const [url, db, prefix] = [read('url'), read('db'), read('key_prefix')];
  const problems: Problem[] = [];
  const cluster = read('cluster') === true;
  if (url === undefined) {
    problems.push({
      code: 'URL_MISSING',
      path: at('url'),
      at: ['services', name],
      message: `caches.service names services.${name}, and services.${name}.config.url is missing`,
      fix: `add \`config: { url: "\${VALKEY_URL:valkey://localhost:6379}" }\` to services.${name}`,
    });
  } else if (typeof url === 'string' && url !== '') {
    const problem = urlProblem(url, { cluster });
    if (problem) {
      problems.push({
        code: 'URL_INVALID',
        path: at('url'),
        message: `services.${name}.config.url: ${problem.message}`,
        fix: problem.fix,
      });
    } else if (typeof db === 'number') problems.push(...databaseProblems(url, db, cluster, at('db'), name));
  }
  if (typeof prefix === 'string' && /^[^{]*\{\}/.test(prefix)) {
    problems.push({
      code: 'INVALID_VALUE',
      path: at('key_prefix'),
      message: `services.${name}.config.key_prefix must be a text without {}`,
      fix: 'remove the braces',
    });
  }
  return problems;
}

/** The url and `db` may both name the database; then they must name the same. */
function databaseProblems(url: string, db: number, cluster: boolean, path: Path, name: string): Problem[] {
  const inUrl = /^[^/]*\/\/[^/]*\/(\d+)$/.exec(url)?.[1];
  if (cluster && db !== 0) {
    const message = `services.${name}.config.db is ${db}, and a cluster has only database 0`;
    return [{ code: 'INVALID_VALUE', path, message, fix: 'remove it' }];
  }
  if (inUrl === undefined || Number(inUrl) === db) return [];
  const message = `services.${name}.config.db is ${db}, and the url names database ${Number(inUrl)}`;
  return [{ code: 'INVALID_VALUE', path, message, fix: 'name the database in one place' }];
}
