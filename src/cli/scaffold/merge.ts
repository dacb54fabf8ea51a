type Manifest = Record<string, unknown> & { scripts?: Record<string, string> };
const SECTIONS = ['scripts', 'dependencies', 'devDependencies'] as const;

/**
 * A package.json that is there already, with what a new project needs added. What it says stays: only missing
 * entries are added, and the placeholder that `npm init` writes for `test` counts as missing.
 * @returns the new text, or the sentence that says why it cannot be merged
 */
export function mergePackage(existing: string, planned: string): { text: string } | { problem: string } {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(existing) as Manifest;
  } catch {
    return { problem: 'is not JSON' };
  }
  if (typeof manifest !== 'object' || manifest === null || Array.isArray(manifest)) return { problem: 'is no object' };
  const wanted = JSON.parse(planned) as Manifest;
  // Its `type` stays, also where it has none: another one would break the code that is there. Skills run as both.
  const merged: Manifest = { ...manifest };
  for (const section of SECTIONS) {
    const there = (manifest[section] ?? {}) as Record<string, string>;
    const elsewhere = section === 'devDependencies' ? (manifest['dependencies'] ?? {}) : {};
    const added = Object.entries((wanted[section] ?? {}) as Record<string, string>).filter(
      ([name]) => !(name in there && !isPlaceholder(there[name])) && !(name in (elsewhere as object)),
    );
    if (added.length > 0) merged[section] = { ...there, ...Object.fromEntries(added) };
  }
  if (JSON.stringify(merged) === JSON.stringify(manifest)) return { text: existing };
  const indent = /^(?<indent>[ \t]+)"/m.exec(existing)?.groups?.['indent'] ?? '  ';
  return { text: `${JSON.stringify(merged, null, indent)}\n` };
}

/** A .gitignore that is there already, with the missing lines added at its end. */
export function mergeGitignore(existing: string, planned: string): string {
  const bare = (line: string) => line.trim().replace(/^\/|\/$/g, '');
  const there = new Set(existing.split('\n').map(bare));
  const added = planned.split('\n').filter((line) => line !== '' && !there.has(bare(line)));
  if (added.length === 0) return existing;
  const start = existing === '' || existing.endsWith('\n') ? existing : `${existing}\n`;
  return `${start}${added.join('\n')}\n`;
}

function isPlaceholder(script: string | undefined): boolean {
  return script?.includes('no test specified') ?? false;
}
