import { AgentUpError, messageOf } from '../errors.js';
import { redactText } from '../redact.js';
import { countText, findingsReport, isReported, type Reported } from './findings-report.js';
import type { Terminal } from './terminal.js';

export interface ReportOptions {
  /** Also as JSON on stdout, `{ error: { code, message, fix?, findings? } }`. */
  readonly json?: boolean | undefined;
  /** That JSON on one line. */
  readonly oneLine?: boolean | undefined;
}

/** Says on stderr what went wrong and what to do about it; an invalid configuration with all its findings. */
export function reportError(error: unknown, terminal: Terminal, { json, oneLine }: ReportOptions = {}): void {
  const message = redactText(messageOf(error));
  const { code, details } = error instanceof AgentUpError ? error : { code: 'INTERNAL', details: undefined };
  const fix = details?.fix;
  const findings = (details?.issues ?? []).filter(isReported);
  print(error, message, fix, findings, details?.file, terminal);
  if (!json) return;
  const report = {
    error: {
      code,
      message,
      ...(fix !== undefined && { fix }),
      ...(findings.length > 0 && { findings: findings.map(({ frame: _, ...finding }) => finding) }),
    },
  };
  if (oneLine) terminal.jsonLine(report);
  else terminal.json(report);
}

function print(
  error: unknown,
  message: string,
  fix: string | undefined,
  findings: readonly Reported[],
  file: string | undefined,
  terminal: Terminal,
): void {
  const { noteStyle } = terminal;
  const { bold, red, dim, green } = noteStyle;
  const name = file ?? 'the configuration';
  if (findings.length > 0) terminal.note(`${findingsReport(findings, name, noteStyle)}\n`);
  terminal.note(
    `${red(bold('error'))} ${findings.length > 0 ? `${name} is invalid: ${countText(findings)}` : message}`,
  );
  if (fix !== undefined) terminal.note(`  ${green('fix:')} ${fix}`);
  const known = error instanceof AgentUpError;
  if (terminal.env['AGENTUP_LOG'] === 'debug' && error instanceof Error && error.stack) {
    terminal.note(dim(redactText(error.stack)));
  } else if (!known) terminal.note(dim('  set AGENTUP_LOG=debug for the whole story'));
}
