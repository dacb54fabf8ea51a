import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { resolveState } from '../../agent/resolve-state.js';
import type { StateConfig } from '../../config/index.js';
import { urlProblem } from '../../config/url-problem.js';
import { type MigrateReport, migrate } from '../../operations/migrate.js';
import type { StorageOptions } from '../../storage/open-storage.js';
import type { ExitCode } from '../exit-codes.js';
import { usage } from '../interview.js';
import { openConfig } from '../open-config.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import { type ConfirmFlags, confirmed } from '../state/confirm.js';
import { interrupted } from '../state/interrupted.js';
import { withStorage } from '../state/open-state.js';
import { ProgressBar } from '../state/progress-bar.js';
import { countOf, countText, sizeText } from '../state/texts.js';
import { endWithout } from '../state/unreadable.js';
import type { Terminal } from '../terminal.js';

export interface StateMigrateOptions extends PlaceFlags, ConfirmFlags {
  readonly from?: string;
  readonly fromDir?: string;
  readonly fromUrl?: string;
  readonly fromPrefix?: string;
  readonly fromCluster?: boolean;
  readonly to?: string;
  readonly toDir?: string;
  readonly toUrl?: string;
  readonly toPrefix?: string;
  readonly toCluster?: boolean;
  readonly parallel?: string;
  readonly mirror?: boolean;
  readonly move?: boolean;
  readonly dryRun?: boolean;
}

interface Side {
  readonly name: 'from' | 'to';
  readonly backend: string | undefined;
  readonly dir: string | undefined;
  readonly url: string | undefined;
  readonly prefix: string | undefined;
  readonly cluster: boolean | undefined;
}

/** `agentup state migrate --from file --to valkey`: brings everything from one storage into another. */
export async function run(options: StateMigrateOptions, terminal: Terminal): Promise<ExitCode> {
  const { dryRun, move, mirror, json } = options;
  const parallel = countOf(options.parallel, '--parallel', 1);
  if (move && mirror)
    throw usage('--mirror would remove from the target what --move has brought there before', '--mirror');
  const { config, directory } = await openConfig(options, terminal);
  const cwd = workingDirectory(options, terminal);
  const side = (name: 'from' | 'to'): StorageOptions => {
    const given = options as Readonly<Record<string, unknown>>;
    const flag = <T>(end: string): T | undefined => given[`${name}${end}`] as T | undefined;
    const [backend, dir, url, prefix, cluster] = ['', 'Dir', 'Url', 'Prefix', 'Cluster'].map((end) => flag<never>(end));
    return storageOf({ name, backend, dir, url, prefix, cluster }, config.state, { directory, cwd });
  };
  const [from, to] = [side('from'), side('to')];
  if (JSON.stringify(from) === JSON.stringify(to)) {
    const other = to.backend === 'file' ? '--to-dir' : '--to-url or --to-prefix';
    throw usage(`--from and --to mean the same storage; name another with ${other}`, '--to');
  }
  if (move && !dryRun)
    await confirmed(
      'Remove each record from the source, where an agent that still runs forgets it, once it is in the target?',
      options,
      terminal,
    );
  if (mirror && !dryRun) await confirmed('Remove from the target what the source has not?', options, terminal);
  const stop = interrupted();
  return withStorage(from, terminal, (source, unreadable) =>
    withStorage(to, terminal, async (target) => {
      const bar = new ProgressBar(terminal);
      const report = await migrate(source, target, {
        dryRun,
        move,
        mirror,
        parallel,
        signal: stop,
        onProgress: ({ phase, done, total }) => bar.show(phase, done, total),
      }).finally(() => bar.end());
      if (json) terminal.json(report);
      else print(report, options, terminal);
      return endWithout(unreadable, 'taken along whole', terminal);
    }),
  );
}

/** A side takes from the configuration what its flags leave open, where it names the configured backend. */
function storageOf(
  { name, backend, dir, url, prefix, cluster }: Side,
  state: StateConfig,
  { directory, cwd }: { directory: string; cwd: string },
): StorageOptions {
  const flag = (end: string): string => `--${name}${end}`;
  if (backend === undefined) throw usage(`${flag('')} is missing: file or valkey`, flag(''));
  if (backend === 'memory')
    throw usage(`${flag('')}: what is kept in memory ends with its process; use file or valkey`, flag(''));
  const same = state.backend === backend ? state : undefined;
  if (backend === 'file') {
    const storageDir = dir === undefined ? same && resolve(directory, same.storage_dir) : resolve(cwd, dir);
    if (storageDir === undefined)
      throw usage(`${flag('-dir')} is missing: the configuration names no directory`, flag('-dir'));
    // It would pass for an empty one.
    if (name === 'from' && !existsSync(storageDir))
      throw usage(`${flag('-dir')}: there is no ${storageDir}`, flag('-dir'));
    return { backend, storageDir };
  }
  if (backend !== 'valkey') throw usage(`${flag('')}: ${JSON.stringify(backend)} is neither file nor valkey`, flag(''));
  if (url === undefined && prefix === undefined && cluster === undefined && same) {
    // As it is stored: opened by one side alone, values would arrive in clear, or encrypted twice.
    return { ...(resolveState(state, {}, directory).storage as StorageOptions), encryption: undefined };
  }
  const [server, keyPrefix] = [url ?? same?.url, prefix ?? same?.key_prefix];
  if (server === undefined) throw usage(`${flag('-url')} is missing: valkey://host:6379`, flag('-url'));
  if (keyPrefix === undefined) throw usage(`${flag('-prefix')} is missing: what keys begin with`, flag('-prefix'));
  const isCluster = cluster ?? (url === undefined && same?.cluster === true);
  const problem = urlProblem(server, { cluster: isCluster });
  if (problem) throw usage(`${flag('-url')}: ${problem.message}`, flag('-url'), problem.fix);
  return { backend, url: server, keyPrefix, cluster: isCluster || undefined, timeoutMs: state.timeout };
}

function print(report: MigrateReport, { dryRun, move }: StateMigrateOptions, terminal: Terminal): void {
  const { records, copied, same, kept, dropped, moved, bytes, digest } = report;
  const why = move ? 'newer there, or moved before and begun anew' : 'newer there';
  const rest = [`${same} there already`, ...(kept > 0 ? [`${kept} ${why}, left alone`] : [])].join(', ');
  if (dryRun) {
    if (dropped > 0) terminal.result(`would remove ${countText(dropped, 'record')} from the target`);
    terminal.result(`would copy ${countText(copied, 'record')} of ${records}; ${rest}`);
    return;
  }
  terminal.result(`copied ${countText(copied, 'record')}; ${rest}`);
  if (dropped > 0) terminal.result(`removed ${countText(dropped, 'record')} from the target that the source has not`);
  terminal.result(`verified ${sizeText(bytes)}: ${digest}`);
  if (move) terminal.result(`removed ${countText(moved, 'record')} from the source`);
}
