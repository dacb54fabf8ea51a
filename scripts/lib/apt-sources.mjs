/**
 * Derives the package sources that can hold Valkey from the sources the machine already has, so that its own mirror,
 * options and signing keys are used. Only entries of the distribution release itself are taken over; everything is
 * taken over when none names the release (a suite such as `sid`).
 */

/**
 * @typedef {{ name: string, text: string }} SourceFile  `name` ends in `.list` (one line each) or `.sources` (deb822)
 * @typedef {object} Release
 * @property {readonly string[]} suites  the names the release goes by, such as `bookworm` and `oldstable`
 * @property {boolean} backports  whether Valkey is only in the backports suite
 */

/**
 * @param {readonly SourceFile[]} files
 * @param {Release} release
 * @returns {SourceFile[]}
 */
export function deriveAptSources(files, release) {
  const derived = files
    .map((file) => ({
      name: file.name,
      text: file.name.endsWith('.sources') ? deriveDeb822(file.text, release) : deriveOneLine(file.text, release),
    }))
    .filter((file) => file.text !== '');
  return derived.length > 0 ? derived : [...files];
}

/**
 * @param {string} text
 * @param {Release} release
 */
function deriveDeb822(text, release) {
  const stanzas = text
    .replace(/^#.*\n?/gm, '')
    .split(/\n(?:[ \t]*\n)+/)
    .map((stanza) => stanza.trim());
  const kept = stanzas.flatMap((stanza) => {
    const types = words(deb822Field(stanza, 'Types'));
    const suites = words(deb822Field(stanza, 'Suites'));
    const enabled = !/^(no|false|0|off)$/i.test(deb822Field(stanza, 'Enabled') ?? 'yes');
    if (!enabled || !types.includes('deb') || !suites.some((suite) => isOf(suite, release))) return [];
    const components = words(deb822Field(stanza, 'Components'));
    const wanted = withBackports(suites, components, release);
    return [stanza.replace(deb822Pattern('Suites'), () => `Suites: ${wanted.join(' ')}`)];
  });
  return kept.length > 0 ? `${kept.join('\n\n')}\n` : '';
}

/**
 * @param {string} text
 * @param {Release} release
 */
function deriveOneLine(text, release) {
  const lines = text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
    if (!match) return [];
    const [, options = '', uri, suite = '', components = ''] = match;
    if (!isOf(suite, release)) return [];
    return withBackports([suite], words(components), release).map(
      (wanted) => `deb ${options}${uri} ${wanted} ${components.trim()}`,
    );
  });
  return lines.length > 0 ? `${[...new Set(lines)].join('\n')}\n` : '';
}

/**
 * @param {string[]} suites
 * @param {string[]} components
 * @param {Release} release
 */
function withBackports(suites, components, release) {
  if (!release.backports || !components.includes('main')) return suites;
  const backports = suites.filter((suite) => release.suites.includes(suite)).map((suite) => `${suite}-backports`);
  return [...new Set([...suites, ...backports])];
}

/**
 * @param {string} suite
 * @param {Release} release
 */
function isOf(suite, release) {
  return release.suites.some((name) => suite === name || suite.startsWith(`${name}-`) || suite.startsWith(`${name}/`));
}

/** @param {string} name */
function deb822Pattern(name) {
  return new RegExp(`^${name}:(.*(?:\\n[ \\t].*)*)`, 'im');
}

/**
 * @param {string} stanza
 * @param {string} name
 */
function deb822Field(stanza, name) {
  return deb822Pattern(name).exec(stanza)?.[1]?.trim();
}

/** @param {string | undefined} text */
function words(text) {
  return (text ?? '').split(/\s+/).filter((word) => word !== '');
}
