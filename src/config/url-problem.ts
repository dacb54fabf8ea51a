import { endsInUserinfo, PERCENT_ENCODING, redactUrl } from '../redact.js';
import { URL_SCHEMES } from './schema.js';
import { closest } from './suggest.js';

const FORM = 'valkey://host:6379, with user:password@ before the host and /1 for another database where needed';

/**
 * What is wrong with the URL of a Valkey server, or of a cluster, of which it may name several nodes, and what to do
 * about it. Never shows a password.
 */
export function urlProblem(
  url: string,
  { cluster = false } = {},
): { readonly message: string; readonly fix: string } | undefined {
  const problem = (what: string, fix = `write ${FORM}`): { message: string; fix: string } => ({
    message: `${shown(url)} ${what}`,
    fix,
  });
  if (/\s/.test(url)) return problem('holds white space');
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1];
  if (scheme === undefined) return problem('is not a URL: it has no scheme', `write valkey:// before it: ${FORM}`);
  if (!(URL_SCHEMES as readonly string[]).includes(scheme.toLowerCase())) {
    const near = closest(scheme, URL_SCHEMES);
    return problem(
      `has the scheme ${scheme}, which is not one of ${URL_SCHEMES.join(', ')}`,
      near === undefined ? `write ${FORM}` : `did you mean \`${near}://\`?`,
    );
  }
  if (endsInUserinfo(url)) {
    return problem('has a user or password that is not percent-encoded', `percent-encode it: ${PERCENT_ENCODING}`);
  }
  const [before = '', nodes = '', after = ''] = cluster ? splitNodes(url) : [url];
  for (const node of nodes.split(',').slice(1)) {
    const found = urlProblem(`${scheme}://${node}${after}`);
    if (found) return found;
  }
  let parsed: URL;
  try {
    parsed = new URL(`${before}${nodes.split(',')[0]}${after}`);
    decodeURIComponent(parsed.username + parsed.password);
  } catch {
    return problem('cannot be parsed', `write ${FORM}; ${PERCENT_ENCODING}`);
  }
  if (parsed.hostname === '') return problem('names no host');
  if (parsed.search !== '' || parsed.hash !== '') {
    return problem('has a part after ? or #, which nothing here understands', 'end it after the port or the database');
  }
  if (!/^\/?\d{0,5}$/.test(parsed.pathname)) {
    return problem('has a path that is not the number of a database', 'end it after the port, or with a number: /1');
  }
  if (cluster && Number(parsed.pathname.slice(1)) !== 0) {
    return problem('names a database, and a cluster has only 0', 'end it after the port');
  }
  return undefined;
}

/** What stands before the nodes of a cluster, the nodes, and what stands behind them. */
function splitNodes(url: string): string[] {
  return /^([^/]*\/\/(?:[^/]*@)?)([^/?#]*)(.*)$/s.exec(url)?.slice(1) ?? [url];
}

/** A text without any `://` may be a bare password, so nothing of it is shown. */
function shown(url: string): string {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(url) ? `the URL ${redactUrl(url).slice(0, 120)}` : 'the URL';
}
