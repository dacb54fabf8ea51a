import { closest } from '../../config/suggest.js';
import { shown, shownLines } from '../state/texts.js';
import type { Terminal } from '../terminal.js';
import type { ChatSession } from './session.js';

interface SlashCommand {
  readonly usage: string;
  readonly help: string;
  /** Answers `quit` to end the chat. */
  readonly run: (argument: string, session: ChatSession, terminal: Terminal) => Promise<'quit' | undefined>;
}

const COMMANDS: Readonly<Record<string, SlashCommand>> = {
  help: {
    usage: '/help',
    help: 'this list',
    run: async (_, __, terminal) => {
      const { bold, dim } = terminal.noteStyle;
      for (const { usage, help } of Object.values(COMMANDS)) terminal.note(`  ${bold(usage.padEnd(16))} ${help}`);
      terminal.note(dim('  A message that begins with / is sent with two: //like this'));
      return undefined;
    },
  },
  history: {
    usage: '/history [n]',
    help: 'the last messages the skill keeps (20)',
    run: async (argument, session, terminal) => {
      const limit = /^[1-9]\d*$/.test(argument) ? Number(argument) : 20;
      const page = await (await session.memory())?.getHistoryPage<unknown>({ limit });
      if (!page || page.messages.length === 0) terminal.note('  nothing has been kept yet');
      for (const { role, content, timestamp } of page?.messages ?? []) {
        const { bold, dim } = terminal.noteStyle;
        // Indented, so that no message can look like two.
        const text = shownLines(typeof content === 'string' ? content : JSON.stringify(content)).join('\n      ');
        terminal.note(`  ${dim(shown(String(timestamp)))} ${bold(shown(String(role)))}: ${text}`);
      }
      return undefined;
    },
  },
  vars: {
    usage: '/vars',
    help: 'the variables of this conversation',
    run: async (_, session, terminal) => {
      const variables = Object.entries((await (await session.memory())?.getVariables()) ?? {});
      if (variables.length === 0) terminal.note('  there are no variables');
      for (const [name, value] of variables) {
        terminal.note(`  ${terminal.noteStyle.bold(shown(name))} = ${shown(JSON.stringify(value))}`);
      }
      return undefined;
    },
  },
  skill: {
    usage: '/skill [id|auto]',
    help: 'list the skills; send everything to one; auto: let the agent choose',
    run: async (argument, session, terminal) => {
      if (argument === 'auto') session.skillId = undefined;
      else if (argument !== '') session.choose(argument);
      else {
        for (const { id, description } of session.agent.skills) {
          const mark = id === session.skillId ? '*' : ' ';
          terminal.note(` ${mark} ${terminal.noteStyle.bold(id)}${description ? `  ${description}` : ''}`);
        }
      }
      terminal.note(`  ${session.skillId ? `everything goes to ${session.skillId}` : 'the agent chooses the skill'}`);
      return undefined;
    },
  },
  new: {
    usage: '/new [id]',
    help: 'begin another conversation, or go to the one with this id',
    run: async (argument, session, terminal) => {
      session.restart(argument === '' ? undefined : argument);
      terminal.note(`  conversation ${terminal.noteStyle.bold(session.contextId)}`);
      return undefined;
    },
  },
  quit: { usage: '/quit', help: 'leave (Ctrl-D and Ctrl-C too)', run: async () => 'quit' },
};

/** Runs a line that begins with `/`. Failures are thrown as they come. */
export async function runSlashCommand(
  line: string,
  session: ChatSession,
  terminal: Terminal,
): Promise<'quit' | undefined> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*(.*)$/s.exec(line) ?? [];
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command) return command.run(argument.trim(), session, terminal);
  const meant = closest(name, Object.keys(COMMANDS));
  terminal.note(`  there is no /${name}${meant ? `; did you mean /${meant}?` : ''} /help lists them`);
  return undefined;
}

/** What Tab completes. */
export function completions(line: string, session: ChatSession): string[] {
  if (!line.startsWith('/')) return [];
  const names = Object.keys(COMMANDS).map((name) => `/${name}`);
  const skills = [...session.agent.skills.map(({ id }) => id), 'auto'].map((id) => `/skill ${id}`);
  return [...names, ...skills].filter((text) => text.startsWith(line));
}
