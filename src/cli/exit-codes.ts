import { type ErrorCode, isAgentUpError } from '../errors.js';

/** What the process ends with. Part of the command line's contract: scripts compare these numbers. */
export const EXIT = { done: 0, failed: 1, usage: 2, noConfig: 3, conflict: 4, cancelled: 130 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Every code that is not here ends with `failed`. */
const BY_CODE: Partial<Record<ErrorCode, ExitCode>> = {
  USAGE: EXIT.usage,
  CONFIG_NOT_FOUND: EXIT.noConfig,
  FILE_CONFLICT: EXIT.conflict,
  CANCELLED: EXIT.cancelled,
};

/** The exit status for anything that was thrown. */
export function exitCodeOf(error: unknown): ExitCode {
  return (isAgentUpError(error) ? BY_CODE[error.code] : undefined) ?? EXIT.failed;
}
