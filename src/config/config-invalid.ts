import { AgentUpError } from '../errors.js';
import type { Finding } from './finding.js';

/** The error for a configuration that may not be used: its sentence lists the errors, its details hold all findings. */
export function configInvalid(
  name: string,
  findings: readonly Finding[],
  file?: string,
  cause?: unknown,
): AgentUpError {
  const errors = findings.filter(({ severity }) => severity === 'error');
  const lines = errors.map(({ line, column, frame, message, fix }) => {
    const place = frame === '' ? '' : `${line}:${column} `;
    return `  ${place}${message}${fix === undefined ? '' : ` (${fix})`}`;
  });
  const count = errors.length === 1 ? 'an error' : `${errors.length} errors`;
  return new AgentUpError('CONFIG_INVALID', `${name} has ${count}:\n${lines.join('\n')}`, {
    issues: findings,
    ...(cause !== undefined && { cause }),
    ...(file !== undefined && { file }),
    ...(errors[0] && errors[0].frame !== '' && { line: errors[0].line, column: errors[0].column }),
  });
}
