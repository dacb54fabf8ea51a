import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A Lua script as the server knows it. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

const loaded = new Map<string, Script>();

/** The script in `lua/<name>.lua`, read once when it is first needed. */
export function script(name: string): Script {
  let found = loaded.get(name);
  if (!found) {
    const source = readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
    found = { source, sha: createHash('sha1').update(source).digest('hex') };
    loaded.set(name, found);
  }
  return found;
}
