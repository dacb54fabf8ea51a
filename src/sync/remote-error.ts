import type { ApiProblem } from '../conversation-api/schemas.js';
import { AgentUpError, type ErrorCode, messageOf } from '../errors.js';
import { retryAfterMs } from './retry.js';

/** Not the request's fault: it may pass another time. */
const PASSING = new Set([408, 425, 429]);

const CODES: Readonly<Record<number, ErrorCode>> = {
  401: 'UNAUTHENTICATED',
  403: 'UNAUTHENTICATED',
  404: 'SYNC_NOT_FOUND',
  409: 'CONFLICT',
  410: 'SYNC_NOT_FOUND',
  412: 'CONFLICT',
};

/** The error that an answer with a status from 400 on stands for. `problem`: its body, where that is one. */
export function remoteError(
  call: string,
  response: Response,
  problem: Partial<ApiProblem> | undefined,
  now: number,
): AgentUpError {
  const { status } = response;
  const passing = status >= 500 || PASSING.has(status);
  const code = passing ? 'SYNC_UNAVAILABLE' : (CODES[status] ?? 'SYNC_REFUSED');
  const reason = typeof problem?.code === 'string' ? problem.code : undefined;
  const title = typeof problem?.title === 'string' ? `: ${problem.title}` : '';
  const after = passing ? retryAfterMs(response.headers.get('retry-after'), now) : undefined;
  return new AgentUpError(code, `${call}: the remote answered ${status}${reason ? ` ${reason}` : ''}${title}`, {
    status,
    ...(reason !== undefined && { reason }),
    ...(after !== undefined && { retryAfterMs: after }),
    ...(Array.isArray(problem?.errors) && { issues: problem.errors }),
  });
}

/** The error for an answer that never came, or came to nothing. */
export function unreachable(call: string, cause: unknown): AgentUpError {
  const { name, cause: under } = cause as { name?: unknown; cause?: unknown };
  const what = name === 'TimeoutError' ? 'no answer in time' : messageOf(under ?? cause);
  return new AgentUpError('SYNC_UNAVAILABLE', `${call}: the remote cannot be reached: ${what}`, { cause });
}
