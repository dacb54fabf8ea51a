import { AgentUpError } from '../../errors.js';
import { endsInUserinfo, PERCENT_ENCODING } from '../../redact.js';

/** Where a server is and who we are there. */
export interface ValkeyAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
  /** The url as it may be shown: without user and password. */
  readonly shown: string;
}

const FORM = 'write valkey://host:6379, or valkeys:// for TLS; with user:password@ before the host where it needs them';
const SCHEMES: Record<string, boolean> = { 'valkey:': false, 'redis:': false, 'valkeys:': true, 'rediss:': true };

/**
 * Reads `valkey://[user[:password]@]host[:port][/database]`; `valkeys` is the same over TLS, `redis` and `rediss`
 * mean the same two.
 * @throws INVALID_ARGUMENT that never repeats the url: it may hold a password
 */
export function parseValkeyUrl(url: unknown): ValkeyAddress {
  if (typeof url === 'string' && endsInUserinfo(url)) {
    throw invalid('has a user or password that is not percent-encoded', `percent-encode it: ${PERCENT_ENCODING}`);
  }
  if (typeof url !== 'string' || !URL.canParse(url)) throw invalid('is not a url');
  const parsed = new URL(url);
  const tls = SCHEMES[parsed.protocol];
  if (tls === undefined) throw invalid(`has the scheme ${JSON.stringify(parsed.protocol.slice(0, -1))}`);
  if (parsed.hostname === '') throw invalid('names no host');
  if (parsed.search !== '' || parsed.hash !== '')
    throw invalid('has a part after ? or #, which nothing here understands');
  const database = parsed.pathname.slice(1);
  if (!/^\d{0,5}$/.test(database)) throw invalid('has a path that is not the number of a database');
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  const port = parsed.port === '' ? 6379 : Number(parsed.port);
  return {
    host,
    port,
    tls,
    username: decoded(parsed.username),
    password: decoded(parsed.password),
    database: Number(database),
    shown: `${parsed.protocol}//${parsed.hostname}:${port}${database === '' ? '' : `/${database}`}`,
  };
}

/**
 * Reads the url of a cluster: the same, with one node of it, or several separated by commas:
 * `valkey://user:password@host1:6379,host2:6379`. A cluster has database 0 only.
 * @throws INVALID_ARGUMENT that never repeats the url
 */
export function parseClusterUrl(url: unknown): ValkeyAddress[] {
  const [, before = '', hosts, after = ''] = /^([^/]*\/\/(?:[^/]*@)?)([^/?#]*)(.*)$/s.exec(String(url)) ?? [];
  if (hosts === undefined) throw invalid('is not a url');
  const addresses = hosts.split(',').map((host) => parseValkeyUrl(before + host + after));
  if (addresses.some(({ database }) => database !== 0)) throw invalid('names a database, and a cluster has only 0');
  return addresses;
}

function decoded(part: string): string | undefined {
  try {
    return part === '' ? undefined : decodeURIComponent(part);
  } catch {
    throw invalid('has a user or password with a % that is not followed by two hex digits', PERCENT_ENCODING);
  }
}

function invalid(what: string, fix: string = FORM): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', `the url of the Valkey server ${what}`, { argument: 'url', fix });
}
