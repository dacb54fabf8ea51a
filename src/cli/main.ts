import { EXIT } from './exit-codes.js';
import { runProgram } from './program.js';
import { Terminal } from './terminal.js';
import { reportUntimelyEnd } from './untimely-end.js';

/** The process's own entry: runs the command line on this process's streams, then ends it. */
export async function main(argv: readonly string[]): Promise<void> {
  const { stdin, stdout, stderr, env } = process;
  const terminal = new Terminal({ stdin, stdout, stderr, env, cwd: process.cwd() });
  const done = reportUntimelyEnd(terminal, argv.includes('--json'));
  // Whoever reads us may stop reading (`| head`): that ends the output, and is no error.
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') return;
      done();
      if (stream === stdout) terminal.note(`error the output cannot be written: ${error.message}`);
      process.exit(EXIT.failed);
    });
  }
  const status = await runProgram(argv, terminal);
  await Promise.all([stdout, stderr].map((stream) => new Promise((written) => stream.write('', written))));
  done();
  // A skill of the user's may have left a timer or a connection behind; the command is done all the same.
  process.exit(status);
}
