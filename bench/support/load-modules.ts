import { firstLine } from './first-line.js';

/** Not type-checked with the project: its packages are installed by `npm run bench:peers` only. */
const PEERS = new URL('../peers/modules.ts', import.meta.url).href;

/** A module of the benchmark, ours or a peer's, by which another process finds it too. */
export interface LoadedModule<Exports> {
  readonly url: string;
  readonly exports: Exports;
}

/**
 * Imports our own modules and, where wanted, the peers' of the same kind.
 * @param own paths from `bench/`
 * @param leftOut hears of every peer that cannot be loaded here, and why
 */
export async function loadModules<Exports>(
  own: readonly string[],
  peers: 'subjects' | 'listings' | undefined,
  leftOut: (line: string) => void,
): Promise<LoadedModule<Exports>[]> {
  const loaded: LoadedModule<Exports>[] = [];
  for (const path of own) loaded.push(await loadModule(new URL(path, new URL('../', import.meta.url)).href));
  if (peers === undefined) return loaded;
  const { modules } = (await import(PEERS)) as { modules: Record<string, readonly string[]> };
  for (const path of modules[peers] ?? []) {
    try {
      loaded.push(await loadModule(new URL(path, PEERS).href));
    } catch (error) {
      leftOut(`${path}: ${firstLine(error)}`);
    }
  }
  return loaded;
}

export async function loadModule<Exports>(url: string): Promise<LoadedModule<Exports>> {
  return { url, exports: (await import(url)) as Exports };
}
