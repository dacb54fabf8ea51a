import { toIso } from '../../clock.js';
import { storageStats, type Tally } from '../../operations/storage-stats.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import type { PlaceFlags } from '../place.js';
import { CONVERSATION_SPACES } from '../state/conversations.js';
import { withState } from '../state/open-state.js';
import { ageText, countOf, shown, sizeText } from '../state/texts.js';
import { table } from '../table.js';
import type { Terminal } from '../terminal.js';

/** Users shown where nobody says how many. */
const USUAL = 10;

export interface StateStatsOptions extends PlaceFlags {
  readonly users?: string;
  readonly json?: boolean;
}

/** `agentup state stats`: how much is kept, how old it is, and of whom. */
export async function run(options: StateStatsOptions, terminal: Terminal): Promise<ExitCode> {
  const limit = countOf(options.users, '--users') ?? USUAL;
  return withState(options, terminal, async (storage) => {
    const isConversation = (space: string): boolean => (CONVERSATION_SPACES as readonly string[]).includes(space);
    const { all, bySpace, byOwner } = await storageStats(storage, { owned: isConversation });
    const owners = [...byOwner].sort(([a, one], [b, two]) => two.bytes - one.bytes || (a < b ? -1 : 1)).slice(0, limit);
    if (options.json) {
      const plain = (tallies: Iterable<[string, Tally]>, name: string): object[] =>
        [...tallies].map(([text, tally]) => ({ [name]: text, ...plainTally(tally) }));
      terminal.json({
        backend: storage.backend,
        all: plainTally(all),
        spaces: plain(bySpace, 'space'),
        users: plain(owners, 'userId'),
      });
      return EXIT.done;
    }
    const { bold } = terminal.style;
    const head = (first: string): string[] => [first, 'RECORDS', 'MESSAGES', 'SIZE', 'OLDEST', 'NEWEST'].map(bold);
    terminal.result(table([head('SPACE'), ...[...bySpace, ['all', all] as const].map(row)]));
    if (owners.length > 0) terminal.result(`\n${table([head('USER'), ...owners.map(row)])}`);
    if (byOwner.size > owners.length)
      terminal.note(`the ${owners.length} largest of ${byOwner.size} users; --users shows more`);
    return EXIT.done;
  });
}

function row([name, { records, entries, bytes, oldest, newest }]: readonly [string, Tally]): string[] {
  const age = (moment: number | undefined): string => (moment === undefined ? '-' : ageText(Date.now() - moment));
  return [
    shown(name),
    records.toLocaleString('en'),
    entries.toLocaleString('en'),
    sizeText(bytes),
    age(oldest),
    age(newest),
  ];
}

function plainTally({ records, entries, bytes, oldest, newest }: Tally): object {
  const iso = (moment: number | undefined): string | null => (moment === undefined ? null : toIso(moment));
  return { records, messages: entries, bytes, oldest: iso(oldest), newest: iso(newest) };
}
