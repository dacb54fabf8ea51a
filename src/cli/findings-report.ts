import type { Finding } from '../config/index.js';
import type { ErrorCode } from '../errors.js';
import type { Style } from './style.js';

/** A finding of the configuration, or of connecting to its storage, which has the code of the error. */
export type Reported = Omit<Finding, 'code'> & { readonly code: Finding['code'] | ErrorCode };

/** `2 errors, 1 warning` */
export function countText(findings: readonly Reported[]): string {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const warnings = findings.length - errors;
  return [
    ...(errors > 0 ? [`${errors} error${errors === 1 ? '' : 's'}`] : []),
    ...(warnings > 0 ? [`${warnings} warning${warnings === 1 ? '' : 's'}`] : []),
  ].join(', ');
}

/** All findings with their frames, for people. Readable without colour: nothing is said by colour alone. */
export function findingsReport(findings: readonly Reported[], file: string, style: Style): string {
  return findings.map((finding) => findingText(finding, file, style)).join('\n\n');
}

function findingText(finding: Reported, file: string, { bold, dim, red, yellow, green }: Style): string {
  const { code, severity, path, line, column, message, fix, frame } = finding;
  const mark = severity === 'error' ? red(bold('error')) : yellow(bold('warning'));
  const where = `${file}:${line}:${column}`;
  return [
    `${mark} ${message}`,
    `  ${dim('at')} ${where}${path === '' ? '' : ` ${dim('·')} ${bold(path)}`} ${dim(`· ${code}`)}`,
    ...(frame === ''
      ? []
      : frame.split('\n').map((text) => `  ${frameLine(text, { bold, dim, red, yellow }, severity)}`)),
    ...(fix === undefined ? [] : [`  ${green('fix:')} ${fix}`]),
  ].join('\n');
}

/** The line with the caret stands out; the lines around step back. */
function frameLine(
  text: string,
  style: Pick<Style, 'bold' | 'dim' | 'red' | 'yellow'>,
  severity: Finding['severity'],
): string {
  const tone = severity === 'error' ? style.red : style.yellow;
  if (/^\s*\|\s*\^/.test(text)) return tone(text);
  if (text.startsWith('>')) return style.bold(text);
  return style.dim(text);
}

/** Is this one of the findings an error carries? */
export function isReported(issue: unknown): issue is Reported {
  return typeof issue === 'object' && issue !== null && 'frame' in issue && 'line' in issue;
}
