import { type Path, type Problem, pathKey, pathText } from './finding.js';
import { valueAt } from './schema-problems.js';

/** What the schema cannot say about secrets: what `security` needs of them, and that they belong into the environment. */
export function securityProblems(value: unknown, interpolated: ReadonlySet<string>): Problem[] {
  return [
    ...authProblems(value, interpolated),
    ...encryptionProblems(value, interpolated),
    ...urlProblems(value, interpolated),
  ];
}

/** The URLs of servers may have a password in them. */
function urlProblems(value: unknown, interpolated: ReadonlySet<string>): Problem[] {
  const given = valueAt(value, ['services']);
  const services = typeof given === 'object' && given !== null ? Object.keys(given) : [];
  const paths: Path[] = [['state', 'url'], ...services.map((name) => ['services', name, 'config', 'url'])];
  return paths.filter((path) => hasPassword(valueAt(value, path)) && !interpolated.has(pathKey(path))).map(inClear);
}

function hasPassword(url: unknown): boolean {
  return typeof url === 'string' && /^(?:valkey|redis)s?:/i.test(url) && /:\/\/[^/@]*:[^/@]+@/.test(url);
}

function inClear(path: Path): Problem {
  return {
    code: 'SECRET_IN_FILE',
    path,
    message: `the password in ${pathText(path)} stands in the file in clear`,
    fix: 'put the URL into the environment, and write `"${VALKEY_URL}"` here',
  };
}

function encryptionProblems(value: unknown, interpolated: ReadonlySet<string>): Problem[] {
  const path = ['state', 'encryption'];
  const previous: unknown = valueAt(value, [...path, 'previous']);
  return [
    ...literalSecret(value, [...path, 'key'], interpolated),
    ...(Array.isArray(previous) ? [...previous.keys()] : []).flatMap((index) =>
      literalSecret(value, [...path, 'previous', index], interpolated),
    ),
  ];
}

function authProblems(value: unknown, interpolated: ReadonlySet<string>): Problem[] {
  const security = valueAt(value, ['security']);
  const service = serviceKeyProblems(value, interpolated);
  if (typeof security !== 'object' || security === null) return service;
  const auth = valueAt(value, ['security', 'auth']);
  const keys: unknown = valueAt(value, ['security', 'api_keys']) ?? [];
  const bearer = valueAt(value, ['security', 'bearer']);
  const problems: Problem[] = [...service];
  if (auth === 'api_key' && Array.isArray(keys) && keys.length === 0) {
    problems.push({
      code: 'AUTH_INCOMPLETE',
      path: ['security', 'auth'],
      message: 'security.auth is api_key, and there is no key',
      fix: 'add one: `api_keys: [{ key: "${AGENT_API_KEY}", user: someone }]`',
    });
  }
  if (auth === 'bearer' && (typeof bearer !== 'object' || bearer === null)) {
    problems.push({
      code: 'AUTH_INCOMPLETE',
      path: ['security', 'auth'],
      message: 'security.auth is bearer, and security.bearer does not say how tokens are checked',
      fix: 'add `bearer: { secret: "${JWT_SECRET}" }`, or `bearer: { jwks_url: … }`',
    });
  }
  for (const index of Array.isArray(keys) ? keys.keys() : []) {
    problems.push(...oneOf(value, ['security', 'api_keys', index], 'key', 'key_sha256'));
    problems.push(...literalSecret(value, ['security', 'api_keys', index, 'key'], interpolated));
  }
  if (typeof bearer === 'object' && bearer !== null) {
    problems.push(...oneOf(value, ['security', 'bearer'], 'secret', 'jwks_url'));
    problems.push(...literalSecret(value, ['security', 'bearer', 'secret'], interpolated));
  }
  return problems;
}

function serviceKeyProblems(value: unknown, interpolated: ReadonlySet<string>): Problem[] {
  const keys = valueAt(value, ['conversations', 'api_keys']);
  const problems: Problem[] = [];
  for (const index of Array.isArray(keys) ? keys.keys() : []) {
    const path = ['conversations', 'api_keys', index] as const;
    problems.push(...oneOf(value, path, 'key', 'key_sha256'), ...literalSecret(value, [...path, 'key'], interpolated));
  }
  if (valueAt(value, ['conversations', 'serve']) === true && !(Array.isArray(keys) && keys.length > 0)) {
    problems.push({
      code: 'AUTH_INCOMPLETE',
      path: ['conversations', 'serve'],
      message: 'the conversation API is to be served, and there is no key for it',
      fix: 'add one: `api_keys: [{ key: "${SERVICE_API_KEY}", sub_domains: [my-business] }]`',
    });
  }
  return problems;
}

/** Exactly one of two. */
function oneOf(value: unknown, path: Path, one: string, other: string): Problem[] {
  if (typeof valueAt(value, path) !== 'object') return [];
  const given = [one, other].filter((name) => valueAt(value, [...path, name]) !== undefined);
  if (given.length === 1) return [];
  const both = given.length === 2;
  return [
    {
      code: 'AUTH_INCOMPLETE',
      path,
      message: both ? `either ${one} or ${other}, not both` : `${one} or ${other} is missing`,
      fix: both ? 'remove one of them' : `add \`${one}\` or \`${other}\``,
    },
  ];
}

/** A secret that is written in the file, instead of a reference to the environment. */
export function literalSecret(value: unknown, path: Path, interpolated: ReadonlySet<string>): Problem[] {
  if (typeof valueAt(value, path) !== 'string' || interpolated.has(pathKey(path))) return [];
  return [
    {
      code: 'SECRET_IN_FILE',
      path,
      message: `${typeof path.at(-1) === 'number' ? pathText(path) : String(path.at(-1))} stands in the file in clear`,
      fix: 'put it into the environment, and write `"${NAME}"` here',
    },
  ];
}
