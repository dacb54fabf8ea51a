import { AgentUpError } from '../../errors.js';
import type { Terminal } from '../terminal.js';

export interface ConfirmFlags {
  readonly yes?: boolean;
  readonly json?: boolean;
}

/** Asks before something is destroyed, or demands `--yes` where nobody can be asked. @throws USAGE, CANCELLED */
export async function confirmed(message: string, flags: ConfirmFlags, terminal: Terminal): Promise<void> {
  if (flags.yes) return;
  if (!terminal.interactive || flags.json) {
    throw new AgentUpError('USAGE', `${message} Nobody can be asked here`, { argument: '--yes', fix: 'pass --yes' });
  }
  const { ask } = await import('../prompts.js');
  if (await ask({ kind: 'confirm', message, initial: false }, terminal)) return;
  throw new AgentUpError('CANCELLED', 'nothing was changed');
}
