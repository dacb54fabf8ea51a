import { runProgram } from './program.js';
import { Terminal } from './terminal.js';

/** The process's own entry: runs the command line on this process's streams, then ends it. */
export async function main(argv: readonly string[]): Promise<void> {
  const { stdin, stdout, stderr, env } = process;
  // Whoever reads us may stop reading (`| head`): that ends the output, and is no error.
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  const status = await runProgram(argv, new Terminal({ stdin, stdout, stderr, env, cwd: process.cwd() }));
  await Promise.all([stdout, stderr].map((stream) => new Promise((done) => stream.write('', done))));
  // A skill of the user's may have left a timer or a connection behind; the command is done all the same.
  process.exit(status);
}
