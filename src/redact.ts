/** A reference to the environment is no secret: it is what keeps the secret out of the file. */
const ONLY_REFERENCES = /^(?:\$\{[A-Za-z_]\w*\}|:)*$/;
const SCHEME = /[a-z][a-z0-9+.-]{0,30}:\/\//i;
const SECRET_PARAMETER = /([?&](?:pass(?:word|wd)?|pwd|secret|token|auth|api[_-]?key)=)[^&#\s"']+/gi;
/** `host:word` where a port belongs: most likely a password whose host was forgotten. */
const NO_PORT = /(:\/\/(?:\[[^\]\s]*\]|[^\s/?#@"':[\]{}]*)):(?!\d{1,5}(?:[\s/?#"',}\])]|$)|\$\{|\*\*\*|$)[^\s/?#"']+/g;
// Names are bounded, so that a line made to be slow is not.
const SECRET_NAME = String.raw`(?:[\w-]{0,60}(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key(?!s)|private[_-]?key|credential)[\w-]{0,60}|key)`;
const REFERENCE = String.raw`["']?\$\{[A-Za-z_]\w*\}["']?\s*(?:$|[,}#])`;
const SECRET_ENTRY = new RegExp(
  String.raw`((?:^|[\s{,"'])${SECRET_NAME}["']?\s*[:=]\s*)(?!${REFERENCE})(?:"[^"]*"?|'[^']*'?|[^\s,}"'][^,}]*)`,
  'gi',
);
/** Where a url begins whose scheme was forgotten. */
const URL_ENTRY = /(?:^|[\s{,"'])[\w-]{0,60}ur[li]["']?\s*[:=]\s*["']?/i;
const WHOLE_SECRET_NAME = new RegExp(`^${SECRET_NAME}$`, 'i');

/**
 * A URL that may be shown: the password is `***`, in the user part and in the query. Whatever cannot be told from a
 * password is taken for one, so it also serves for a URL that does not parse.
 */
export function redactUrl(url: string): string {
  const scheme = new RegExp(`^\\s*${SCHEME.source}`, 'i').exec(url)?.[0] ?? '';
  return hideUserinfo(url, scheme.length).replace(NO_PORT, '$1:***').replace(SECRET_PARAMETER, '$1***');
}

/**
 * The same for any text: the URLs in it and every `password: …` entry. Works line by line and rather hides too much,
 * since in a text it is not certain where a URL ends.
 */
export function redactText(text: string): string {
  return text.replace(/[^\r\n]+/g, (line) => {
    const start = line.includes('@') ? (SCHEME.exec(line) ?? URL_ENTRY.exec(line)) : null;
    return (start ? hideUserinfo(line, start.index + start[0].length) : line)
      .replace(NO_PORT, '$1:***')
      .replace(SECRET_PARAMETER, '$1***')
      .replace(SECRET_ENTRY, '$1***');
  });
}

/** Does a `/`, `?` or `#` end the host of this URL before its last `@`? Most likely it is one of the password. */
export function endsInUserinfo(url: string): boolean {
  return /:\/\/[^/?#]*[/?#].*@/s.test(url);
}

/** How to write a user and a password in a URL. */
export const PERCENT_ENCODING =
  'in user and password, write %40 for @, %2F for /, %3A for :, %3F for ?, %23 for #, %25 for %';

/** Is this the name of an entry whose value nobody should see? */
export function isSecretName(name: string): boolean {
  return WHOLE_SECRET_NAME.test(name);
}

/** Hides what lies between `from` and the last `@`; a user's name and references to the environment stay. */
function hideUserinfo(text: string, from: number): string {
  const at = text.lastIndexOf('@');
  if (at < from) return text;
  const userinfo = text.slice(from, at);
  if (ONLY_REFERENCES.test(userinfo)) return text;
  const name = /^([\w.%+-]*:)/.exec(userinfo)?.[1] ?? '';
  return `${text.slice(0, from)}${name}***${text.slice(at)}`;
}
