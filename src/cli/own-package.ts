import { readFile } from 'node:fs/promises';
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What this package says of itself. Generated projects get the versions it is tested with. */
export interface OwnPackage {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly engines: { readonly node: string };
}

/**
 * How a project asks for this package: by version, or from a checkout of its sources, which is on no registry, by path.
 */
export function ownSpecifier({ version }: OwnPackage): string {
  const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '');
  return root.split(sep).includes('node_modules') ? `^${version}` : `file:${root}`;
}

/** This package's own package.json. */
export async function ownPackage(): Promise<OwnPackage> {
  return JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as OwnPackage;
}
