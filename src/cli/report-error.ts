import { inspect } from 'node:util';
import { AgentUpError, messageOf } from '../errors.js';
import { redactText } from '../redact.js';
import { findingsReport, isReported } from './findings-report.js';
import type { Terminal } from './terminal.js';

export interface ReportOptions {
  /** Also as JSON on stdout, `{ error: { code, message, fix?, findings? } }`. */
  readonly json?: boolean | undefined;
  /** That JSON on one line. */
  readonly oneLine?: boolean | undefined;
  /** Where in the user's code it happened: `file:line:column`. */
  readonly at?: string | undefined;
}

/** What to do about errors that come from below the command line and cannot know its flags. */
const FIXES: Partial<Record<string, string>> = {
  STORAGE_UNAVAILABLE: 'start the storage, or correct `state` in the configuration; `npx agentup doctor` tries it',
  CONTEXT_FORBIDDEN: 'speak as the user it belongs to (--user), or choose another conversation (--context)',
};

/** Says on stderr what went wrong and what to do about it; an invalid configuration with all its findings. */
export function reportError(error: unknown, terminal: Terminal, { json, oneLine, at }: ReportOptions = {}): void {
  const { code, details } = error instanceof AgentUpError ? error : { code: 'INTERNAL', details: undefined };
  const { bold, red, dim, green } = terminal.noteStyle;
  const findings = (details?.issues ?? []).filter(isReported);
  // Findings have nothing to hide, and the message of their error only repeats them below its first line.
  const message = findings.length > 0 ? firstLine(messageOf(error)) : redactText(messageOf(error));
  const fix = details?.fix ?? FIXES[code];
  if (findings.length > 0) {
    terminal.note(`${findingsReport(findings, details?.file ?? 'configuration', terminal.noteStyle)}\n`);
  }
  terminal.note(`${red(bold('error'))} ${message}`);
  if (at !== undefined) terminal.note(`  at ${at}`);
  if (fix !== undefined) terminal.note(`  ${green('fix:')} ${fix}`);
  if (terminal.env['AGENTUP_LOG'] === 'debug') {
    terminal.note(dim(redactText(inspect(error))));
  } else if (details === undefined) terminal.note(dim('  set AGENTUP_LOG=debug for the whole story'));
  if (!json) return;
  const plain = findings.map(({ frame: _, ...finding }) => finding);
  const report = {
    error: { code, message, ...(fix !== undefined && { fix }), ...(plain.length > 0 && { findings: plain }) },
  };
  if (oneLine) terminal.jsonLine(report);
  else terminal.json(report);
}

function firstLine(text: string): string {
  return (text.split('\n')[0] ?? '').replace(/:$/, '');
}
