import { readFile } from 'node:fs/promises';

/** What this package says of itself. Generated projects get the versions it is tested with. */
export interface OwnPackage {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly engines: { readonly node: string };
}

/** This package's own package.json. */
export async function ownPackage(): Promise<OwnPackage> {
  return JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as OwnPackage;
}
