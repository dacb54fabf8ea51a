import { EXIT, type ExitCode } from '../exit-codes.js';
import { openConfig } from '../open-config.js';
import type { PlaceFlags } from '../place.js';
import { probeStorage } from '../probe-storage.js';
import { table } from '../table.js';
import type { Terminal } from '../terminal.js';

export interface StateTestOptions extends PlaceFlags {
  readonly json?: boolean;
}

/** `agentup state test`: writes, reads and deletes something on the configured storage, and says how long it took. */
export async function run(options: StateTestOptions, terminal: Terminal): Promise<ExitCode> {
  const { config, directory } = await openConfig(options, terminal);
  const { backend, ...times } = await probeStorage(config.state, directory);
  if (options.json) {
    terminal.json({ ok: true, backend, milliseconds: times });
    return EXIT.done;
  }
  const { green } = terminal.style;
  const rows = Object.entries(times).map(([step, ms]) => [green('ok'), step, `${ms.toFixed(1)} ms`]);
  terminal.result(table([[green('ok'), 'backend', backend], ...rows]));
  return EXIT.done;
}
