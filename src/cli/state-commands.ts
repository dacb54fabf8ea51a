import type { Command } from 'commander';
import { CONFIG, CWD, FORCE, JSON_FLAG } from './common-flags.js';
import type { Define } from './define-command.js';

const SURE = ['-y, --yes', 'do not ask before removing'] as const;
const USER = ['--user <id>', 'only of this user'] as const;
const TENANT = ['--tenant <id>', "only of this tenant; '': of none"] as const;

/** `agentup state`: the commands that look after what is kept. */
export function stateCommands(program: Command, define: Define): void {
  const state = program.command('state').description('look after what is kept').helpCommand(false);
  define(
    state
      .command('list')
      .description('list the conversations: user, age, backend')
      .option(...USER)
      .option(...TENANT)
      .option('--older-than <time>', 'only those nobody has written to for so long: 90s, 30m, 24h, 7d')
      .option('--limit <n>', 'at most so many; default 100')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-list.js'),
    ['state list', 'state list --user ada --older-than 24h', 'state list --limit 1000 --json'],
  );
  define(
    state
      .command('show')
      .description('show a conversation: variables, metadata, and its history as a chat')
      .argument('<contextId>', 'its id')
      .option(...USER)
      .option(...TENANT)
      .option('--messages <n>', 'so many of the newest; default 50')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-show.js'),
    ['state show ada', 'state show ada --messages 500', 'state show ada --tenant hotel --json'],
  );
  define(
    state
      .command('tail')
      .description('follow what is said in a conversation, or in all, until Ctrl-C')
      .argument('[contextId]', 'its id; default: all')
      .option(...USER)
      .option(...TENANT)
      .option('--messages <n>', 'so many of the newest first, of one conversation; default 10')
      .option('--every <ms>', 'how often to look, in milliseconds; default 1000')
      .option('--json', 'print each message as a line of JSON')
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-tail.js'),
    ['state tail', 'state tail ada --every 200', 'state tail --json | jq .message.content'],
  );
  define(
    state
      .command('clear')
      .description('remove a conversation, all of it')
      .argument('<contextId>', 'its id')
      .option(...USER)
      .option(...TENANT)
      .option(...SURE)
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-clear.js'),
    ['state clear ada', 'state clear ada --user u1 --yes'],
  );
  define(
    state
      .command('cleanup')
      .description('remove the conversations that nobody has written to for long')
      .option('--older-than <time>', 'for how long: 90s, 30m, 24h, 7d')
      .option('--dry-run', 'say how many there are, remove none; never ask')
      .option(...SURE)
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-cleanup.js'),
    [
      'state cleanup --older-than 24h',
      'state cleanup --older-than 30d --yes',
      'state cleanup --older-than 7d --dry-run',
    ],
  );
  define(
    state
      .command('stats')
      .description('count and weigh what is kept: by space and by user; reads all of it')
      .option('--users <n>', 'so many of the largest users; default 10')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-stats.js'),
    ['state stats', 'state stats --users 100 --json'],
  );
  define(
    state
      .command('export')
      .description('write everything as lines of JSON, to a file or to stdout')
      .argument('[file]', 'where; default, and -: stdout')
      .option('--conversations', 'conversations only, no caches')
      .option(...FORCE)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-export.js'),
    ['state export backup.ndjson', 'state export | gzip > backup.ndjson.gz', 'state export --conversations | wc -l'],
  );
  define(
    state
      .command('import')
      .description('bring in what an export holds; what is as new here already stays')
      .argument('[file]', 'the export; default, and -: stdin')
      .option('--dry-run', 'check all of it, write nothing')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-import.js'),
    ['state import backup.ndjson', 'gunzip < backup.ndjson.gz | agentup state import'],
  );
  const migrateCommand = state
    .command('migrate')
    .description('bring everything from one storage into another, also while it is in use; start it again to go on');
  for (const [side, what] of [
    ['from', 'source'],
    ['to', 'target'],
  ]) {
    migrateCommand
      .option(`--${side} <backend>`, `the ${what}: file or valkey; the configured one needs nothing more`)
      .option(`--${side}-dir <dir>`, 'file: its directory')
      .option(`--${side}-url <url>`, 'valkey: its server')
      .option(`--${side}-prefix <text>`, 'valkey: what its keys begin with')
      .option(`--${side}-cluster`, 'valkey: the server is a cluster');
  }
  define(
    migrateCommand
      .option('--parallel <n>', 'records under way at a time; default 16')
      .option(
        '--mirror',
        'remove from the target what the source has not, such as what was deleted since an earlier run',
      )
      .option('--move', 'remove each record from the source once it is proven to be in the target')
      .option('--dry-run', 'say what would be copied, write nothing; never ask')
      .option(...SURE)
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-migrate.js'),
    [
      'state migrate --from file --to valkey --to-url valkey://localhost:6379 --to-prefix my-agent:',
      'state migrate --from valkey --to file --to-dir ./backup --dry-run',
    ],
  );
  define(
    state
      .command('reencrypt')
      .description(
        'encrypt with the present key what is in clear, or encrypted with a previous one; start it again to go on',
      )
      .option('--parallel <n>', 'records under way at a time; default 16')
      .option('--dry-run', 'open everything and say what would be written, write nothing')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-reencrypt.js'),
    ['state reencrypt --dry-run', 'state reencrypt'],
  );
  define(
    state
      .command('test')
      .description('write, read and delete something on the configured storage, with timings')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/state-test.js'),
    ['state test', 'state test --json'],
  );
}
