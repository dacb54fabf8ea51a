import { resolveCaches } from '../../agent/resolve-caches.js';
import { resolveState } from '../../agent/resolve-state.js';
import { AgentUpError } from '../../errors.js';
import { type ReencryptReport, reencrypt } from '../../operations/reencrypt.js';
import type { StorageOptions } from '../../storage/open-storage.js';
import type { ExitCode } from '../exit-codes.js';
import { openConfig } from '../open-config.js';
import type { PlaceFlags } from '../place.js';
import { interrupted } from '../state/interrupted.js';
import { withStorage } from '../state/open-state.js';
import { ProgressBar } from '../state/progress-bar.js';
import { countOf, countText } from '../state/texts.js';
import { endWithout } from '../state/unreadable.js';
import type { Terminal } from '../terminal.js';

export interface StateReencryptOptions extends PlaceFlags {
  readonly parallel?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `agentup state reencrypt`: encrypts with the present key what is in clear, or encrypted with a previous one. */
export async function run(options: StateReencryptOptions, terminal: Terminal): Promise<ExitCode> {
  const { dryRun, json } = options;
  const parallel = countOf(options.parallel, '--parallel', 1);
  const { config, directory } = await openConfig(options, terminal);
  const { encryption, ...state } = resolveState(config.state, {}, directory).storage as StorageOptions;
  if (state.backend !== 'memory' && !encryption) {
    throw new AgentUpError('INVALID_ARGUMENT', 'state.encryption is not set, so there is no key to encrypt with', {
      argument: 'state.encryption',
      fix: 'add `encryption: { key: "${STATE_KEY}" }` under `state`',
    });
  }
  const caches = resolveCaches(config);
  const signal = interrupted();
  const total = { records: 0, rewritten: 0, values: 0, lostReplies: 0 };
  const unreadable = new Set<string>();
  for (const storage of caches ? [state, caches] : [state]) {
    const bar = new ProgressBar(terminal);
    const report = await withStorage({ ...storage, encryption: undefined }, terminal, (opened, files) =>
      reencrypt(opened, encryption as NonNullable<typeof encryption>, {
        dryRun,
        parallel,
        signal,
        onProgress: (done, all) => bar.show(dryRun ? 'checked' : 'encrypted', done, all),
      }).finally(() => {
        bar.end();
        for (const file of files) unreadable.add(file);
      }),
    );
    for (const name of ['records', 'rewritten', 'values', 'lostReplies'] as const) total[name] += report[name];
  }
  if (json) terminal.json(total);
  else terminal.result(sentenceOf(total, dryRun === true));
  if (!json && total.lostReplies > 0) {
    const replies = countText(total.lostReplies, 'kept reply', 'kept replies');
    terminal.note(`${replies} of messages that were handled cannot be opened any more: their key is not configured`);
  }
  return endWithout(unreadable, 'encrypted', terminal);
}

function sentenceOf({ records, rewritten, values }: ReencryptReport, dryRun: boolean): string {
  const all = countText(records, 'record');
  if (rewritten === 0) return `${all}, all encrypted with the present key`;
  return `${dryRun ? 'would encrypt' : 'encrypted'} ${countText(values, 'value')} in ${rewritten} of ${all}`;
}
