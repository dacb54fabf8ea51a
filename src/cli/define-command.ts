import type { Command } from 'commander';
import type { ExitCode } from './exit-codes.js';
import type { Terminal } from './terminal.js';

/** What every command's file exports. */
type Run<Options> = (options: Options, terminal: Terminal) => Promise<ExitCode>;

export type Define = ReturnType<typeof defineFor>;

/**
 * A function that gives a command its examples, and what it runs: loaded when it is called, so that `--help` stays fast.
 * @param ended hears the exit status of the command that was called
 */
export function defineFor(terminal: Terminal, ended: (status: ExitCode) => void) {
  return <Options extends object>(
    command: Command,
    load: () => Promise<{ run: Run<Options> }>,
    examples: readonly string[],
  ): void => {
    // An example that begins with another program's name is a whole line of the shell.
    const lines = examples.map((line) => `  $ ${line.includes('| agentup ') ? line : `agentup ${line}`}`);
    command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
    command.action(async (...received: unknown[]) => {
      const { run } = await load();
      const names = command.registeredArguments.map((argument) => argument.name());
      const values = names.map((name, index) => [name, received[index]] as const);
      const given = Object.fromEntries(values.filter(([, value]) => value !== undefined));
      ended(await run({ ...command.opts(), ...given } as Options, terminal));
    });
  };
}
