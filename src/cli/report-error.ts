import { isAgentUpError, messageOf } from '../errors.js';
import { redact } from './redact.js';
import type { Terminal } from './terminal.js';

/** Says what went wrong: on stderr, and with `--json` also as JSON on stdout, `{ error: { code, message, fix } }`. */
export function reportError(error: unknown, terminal: Terminal, { json = false, oneLine = false } = {}): void {
  const { bold, red, dim } = terminal.noteStyle;
  const known = isAgentUpError(error);
  const fix = known ? error.details.fix : undefined;
  terminal.note(`${red(bold('error'))} ${messageOf(error)}`);
  if (fix !== undefined) terminal.note(`  fix: ${fix}`);
  const trace = terminal.env['AGENTUP_LOG'] === 'debug';
  if (trace && error instanceof Error && error.stack) terminal.note(dim(error.stack));
  else if (!known) terminal.note(dim('  set AGENTUP_LOG=debug for the whole story'));
  if (json) {
    const code = known ? error.code : 'INTERNAL';
    const report = { error: { code, message: redact(messageOf(error)), ...(fix !== undefined && { fix }) } };
    if (oneLine) terminal.verbatim(JSON.stringify(report));
    else terminal.json(report);
  }
}
