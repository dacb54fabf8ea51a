import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { AgentUpError } from '../errors.js';
import { CONFIG, CWD, FORCE, JSON_FLAG } from './common-flags.js';
import { defineFor } from './define-command.js';
import { EXIT, type ExitCode, exitCodeOf } from './exit-codes.js';
import { reportError } from './report-error.js';
import { stateCommands } from './state-commands.js';
import type { Terminal } from './terminal.js';

/** A flag that may be given several times. */
const many = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

const YES = ['-y, --yes', 'ask nothing, take the default of every answer not given'] as const;
const DRY_RUN = ['--dry-run', 'say what would be written, write nothing; never ask'] as const;

/** Runs the command line and answers the exit status. */
export async function runProgram(argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let status: ExitCode = EXIT.done;
  const json = argv.includes('--json');

  const program = new Command('agentup')
    .description('Agents that remember: create them, check them, talk to them.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      getOutHasColors: () => terminal.style.enabled,
      getErrHasColors: () => terminal.noteStyle.enabled,
      // The sentence is printed once, by the one place that prints errors.
      outputError: () => {},
    })
    .configureHelp({ styleTitle: terminal.style.bold, styleCommandText: terminal.style.cyan });

  const define = defineFor(terminal, (ended) => {
    status = ended;
  });

  define(
    scaffoldOptions(
      program
        .command('init')
        .description('create an agent: a project with its configuration, a first skill and its test')
        .argument('[dir]', 'where; default: here')
        .option('--name <name>', "the agent's name; default: that of the directory")
        .option('--skill <name>', 'the name of its first skill')
        .option('--skill-id <id>', "the first skill's id; default: made from its name")
        .option('--description <text>', 'what the first skill does')
        .option('--agentup <spec>', 'how package.json asks for agentup; default: this version, or this checkout'),
    ).option(...CWD),
    () => import('./commands/init.js'),
    ['init my-agent', 'init my-agent --yes --template tasks --storage file', 'init . --dry-run'],
  );

  const skill = program.command('skill').description('create and list skills').helpCommand(false);
  define(
    scaffoldOptions(
      skill
        .command('create')
        .description('create a skill: its handler, its test, its entry in agent_config.yaml')
        .argument('[name]', 'what people call it; any text on one line')
        .addOption(new Option('--name <text>', 'the name, as a flag').hideHelp())
        .option('--id <id>', 'its id and file name; default: made from the name')
        .option('--description <text>', 'what it does')
        .option('--stateful', 'it remembers (the default)')
        .option('--no-stateful', 'it remembers nothing')
        .option('--keyword <word>', 'a word that sends a message to it; may be repeated', many)
        .option('--pattern <regex>', 'a regular expression that does, case-insensitive; may be repeated', many)
        .option('--priority <number>', 'skills with a higher one are tried first; default 0')
        .option('--default', 'it answers when nothing else matches'),
    )
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/skill-create.js'),
    [
      'skill create',
      'skill create "Memory assistant" --template memory --keyword remember --default',
      'skill create Planner --template tasks --storage valkey --ttl 86400 --yes',
    ],
  );
  define(
    skill
      .command('list')
      .description('list the skills of the agent')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/skill-list.js'),
    ['skill list', 'skill list --json'],
  );

  define(
    program
      .command('validate-config')
      .description('check agent_config.yaml and the skills it names; every finding comes with its place and a fix')
      .argument('[file]', 'the configuration; default: the agent_config.yaml found from here upwards')
      .option('--strict', 'warnings fail too')
      .option('--connect', 'also open the configured storage and write, read and delete something')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/validate-config.js'),
    ['validate-config', 'validate-config --connect', 'validate-config other/agent_config.yaml --strict --json'],
  );

  define(
    program
      .command('chat')
      .description('talk to the agent; lines from a pipe are answered one by one')
      .option('--skill <id>', 'always this skill, instead of the routing of the configuration')
      .option('--context <id>', 'the conversation to go on with; default: a new one')
      .option('--user <id>', 'whom to speak as')
      .option('--once <text>', 'one message, one answer, done')
      .option('--json', 'print each answer as a line of JSON')
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/chat.js'),
    ['chat', 'chat --context ana --user ana', 'chat --once "What do you remember?" --context ana', 'chat < lines.txt'],
  );

  stateCommands(program, define);

  define(
    program
      .command('run')
      .description('serve the agent over the A2A protocol until it is stopped')
      .option('--host <address>', 'the address to listen on; default: server.host, 127.0.0.1')
      .option('--port <number>', 'the port; default: server.port, 8000; 0: any free one')
      .option('--allow-anonymous', 'with security.auth none, serve other machines too')
      .option('--mcp', 'serve MCP too, at /mcp; default: server.mcp')
      .option('--conversations', 'serve the conversation API too, at /api/v1; default: conversations.serve')
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/run.js'),
    ['run', 'run --port 9000', 'run --host 0.0.0.0 --mcp'],
  );

  define(
    program
      .command('mcp')
      .description('serve skills and tools over MCP on standard input and output, for the program that starts it')
      .option('--user <id>', 'whom the program speaks for')
      .option('--tenant <id>', 'the tenant it speaks for')
      .option('--http', 'over HTTP instead: as `run --mcp`')
      .option('--host <address>', 'with --http: the address to listen on')
      .option('--port <number>', 'with --http: the port')
      .option('--allow-anonymous', 'with --http and security.auth none, serve other machines too')
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/mcp.js'),
    ['mcp', 'mcp --user ana', 'mcp --http --port 9000'],
  );

  const deploy = program.command('deploy').description('run the agent somewhere else').helpCommand(false);
  define(
    deploy
      .command('docker')
      .description('write Dockerfile, .dockerignore and compose.yaml: the agent, and Valkey where it is kept there')
      .option('--name <name>', "the name of the image; default: made from the agent's name")
      .option(...FORCE)
      .option(...DRY_RUN)
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/deploy-docker.js'),
    ['deploy docker', 'deploy docker --name my-agent --dry-run'],
  );

  define(
    program
      .command('doctor')
      .description('check this machine and project: Node, configuration, TypeScript, storage, skills')
      .option(...JSON_FLAG)
      .option(...CONFIG)
      .option(...CWD),
    () => import('./commands/doctor.js'),
    ['doctor', 'doctor --json'],
  );

  program.addHelpText(
    'after',
    [
      '',
      'Start:',
      '  $ agentup init my-agent',
      '  $ agentup chat',
      '',
      'Exit status: 0 done, 1 failed or invalid, 2 wrong usage, 3 no configuration, 4 conflict, 130 cancelled.',
    ].join('\n'),
  );

  try {
    await program.parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    const known = error instanceof CommanderError ? translate(error) : error;
    if (known === undefined) return error instanceof CommanderError && error.exitCode === 0 ? EXIT.done : EXIT.usage;
    reportError(known, terminal, { json });
    return exitCodeOf(known);
  }
}

function scaffoldOptions(command: Command): Command {
  return command
    .option('--template <kind>', 'what the skill starts as: memory, tasks or plain')
    .option('--storage <backend>', 'where conversations are kept: memory, file or valkey')
    .option('--url <url>', 'the Valkey server; ${NAME:default} reads the environment')
    .option('--key-prefix <text>', 'what the keys in Valkey begin with')
    .option('--storage-dir <dir>', 'the directory for file storage')
    .option('--ttl <time>', 'forget conversations nobody has written to for so long: seconds, or 30m, 24h, 7d; or none')
    .option(...YES)
    .option(...FORCE)
    .option(...DRY_RUN)
    .option(...JSON_FLAG);
}

/** Commander's own errors as ours; nothing for those that only end a request for help or the version. */
function translate(error: CommanderError): AgentUpError | undefined {
  if (
    error.code === 'commander.helpDisplayed' ||
    error.code === 'commander.version' ||
    error.code === 'commander.help'
  ) {
    return undefined;
  }
  return new AgentUpError('USAGE', error.message.replace(/^error: /, ''), { cause: error, fix: 'see --help' });
}

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
