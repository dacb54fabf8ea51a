import { AgentUpError, type ErrorCode } from '../../errors.js';

const QUEUED = Buffer.from('QUEUED');

/** First words of replies that say "not now": nothing was done, and asking again soon may succeed. */
const PASSING = new Set(['LOADING', 'CLUSTERDOWN', 'TRYAGAIN', 'MASTERDOWN', 'BUSY']);

/**
 * First words of replies that need somebody to act, with what to say about them. The reply follows after a colon, so no
 * sentence ends with a word like "password": what stands behind such a name is hidden wherever texts are shown.
 */
const SENTENCES: Record<string, readonly [ErrorCode, string, string?]> = {
  LOADING: ['STORAGE_UNAVAILABLE', 'is still loading its data'],
  CLUSTERDOWN: ['STORAGE_UNAVAILABLE', 'belongs to a cluster that is down'],
  TRYAGAIN: ['STORAGE_UNAVAILABLE', 'is moving this part of its data to another node'],
  MASTERDOWN: ['STORAGE_UNAVAILABLE', 'is a replica that has lost its primary'],
  BUSY: ['STORAGE_UNAVAILABLE', 'is busy with a script of somebody else'],
  READONLY: ['STORAGE_UNAVAILABLE', 'is a read-only replica', 'point the url at the primary'],
  OOM: ['STORAGE_UNAVAILABLE', 'is out of memory', 'raise `maxmemory` of the server, or let conversations expire'],
  MISCONF: ['STORAGE_UNAVAILABLE', 'refuses writes because it cannot save to its disk'],
  NOREPLICAS: ['STORAGE_UNAVAILABLE', 'refuses writes because it has too few replicas'],
  NOAUTH: ['STORAGE_FAILED', 'wants to know who asks', 'write it in the url: valkey://user:password@host'],
  WRONGPASS: ['STORAGE_FAILED', 'does not let this user in', 'check user and password in the url'],
  NOPERM: ['STORAGE_FAILED', 'does not allow this user a command or key that is needed here'],
  DENIED: ['STORAGE_FAILED', 'does not allow this user a command that is needed here'],
  MOVED: ['STORAGE_FAILED', 'is one node of a cluster', 'set `cluster: true`'],
  ASK: ['STORAGE_FAILED', 'is one node of a cluster', 'set `cluster: true`'],
  DBINDEX: [
    'STORAGE_FAILED',
    'has no database of this number',
    'leave the number out of the url, or raise `databases` of the server, which is 16 unless it is told otherwise',
  ],
  WRONGTYPE: ['RECORD_CORRUPT', 'holds a key of another type where a record of ours belongs'],
  CORRUPT: ['RECORD_CORRUPT', 'holds something that is not a whole record of ours'],
};

/** What clients and TLS say of a server that is another than the url says, in words, and what to do. */
const MISTAKEN: readonly (readonly [RegExp, what: string | undefined, fix: string])[] = [
  [
    /as reply type byte/,
    'what answers there is no Valkey server',
    'correct host and port of the url; Valkey listens on 6379 unless it is told otherwise',
  ],
  [
    /wrong version number|packet length too long/,
    'it does not speak TLS',
    'write valkey:// instead of valkeys://, or the port where it speaks TLS',
  ],
  [
    /certificate/,
    undefined,
    'let Node trust its authority (NODE_EXTRA_CA_CERTS=ca.pem, or `tls: { ca }` of ValkeyStorage), and name it in the url as the certificate does',
  ],
];

/** The first word of an error reply, or `undefined` where the server did not answer at all. */
export function replyCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
  const [word = ''] = error.message.split(' ', 1);
  if (word !== 'ERR') return word;
  if (error.message.includes('ACL failure in script')) return 'NOPERM';
  return error.message.includes('DB index is out of range') ? 'DBINDEX' : word;
}

/** Did the server only say "not now", having done nothing? */
export function isPassing(error: unknown): boolean {
  return PASSING.has(replyCode(error) ?? '');
}

/** Was it put off to the end of a transaction that somebody has left open? No answer of ours is this word. */
export function isQueued(reply: unknown): boolean {
  return reply instanceof Buffer && reply.length === QUEUED.length && reply.equals(QUEUED);
}

/** Did the client refuse to send it, so that it cannot have been done? */
export function unsent(error: Error): boolean {
  return error.message.startsWith("Stream isn't writeable");
}

/** Did the client give up waiting, for a connection or an answer on a new one? */
export function isTimeout(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === 'ETIMEDOUT' || message === 'Command timed out';
}

/** Did the server refuse, or end, a WAIT because it is a replica now? */
export function isRoleChange(error: Error): boolean {
  return replyCode(error) === 'UNBLOCKED' || /WAIT cannot be used with (?:replica|slave)/.test(error.message);
}

/** The reply of the server behind an error, and how often its answer was lost before that. */
export interface ReplyCause extends Error {
  readonly lost: number;
}

/** What a client's error means to the caller. `server` is the url without secrets. */
export function translateError(error: unknown, server: string, lost = 0): AgentUpError {
  if (error instanceof AgentUpError) return error;
  const code = replyCode(error);
  if (code === undefined) return unavailable(server, reasonOf(error), error);
  const known = SENTENCES[code];
  const [type, sentence, fix] = known ?? ['STORAGE_FAILED', 'answered with an error'];
  return new AgentUpError(type, `the Valkey server ${server} ${sentence}: ${(error as Error).message}`, {
    backend: 'valkey',
    ...(fix !== undefined && { fix }),
    cause: Object.assign(stripped(error), { lost }),
  });
}

/** The error of a server that cannot be reached, or does not answer in time. */
export function unavailable(server: string, why: string, cause?: unknown): AgentUpError {
  const [, what, fix = silentTls(server, why)] = MISTAKEN.find(([said]) => said.test(why)) ?? [];
  return new AgentUpError('STORAGE_UNAVAILABLE', `the Valkey server ${server} cannot be used: ${what ?? why}`, {
    backend: 'valkey',
    ...(fix !== undefined && { fix }),
    ...(cause !== undefined && { cause: stripped(cause) }),
  });
}

/** A server that speaks in clear takes a greeting of TLS for the beginning of a command, and waits for its end. */
function silentTls(server: string, why: string): string | undefined {
  const isSilent = /^no answer within|ETIMEDOUT/.test(why) && /^(?:valkeys|rediss):/.test(server);
  return isSilent ? 'where it does not speak TLS, write valkey:// instead of valkeys://' : undefined;
}

/** The error of a write that was done, and of which nobody knows whether it would survive its server. */
export function unconfirmed(server: string, replicas: number, timeoutMs: number, cause: unknown): AgentUpError {
  const count = `${replicas} replica${replicas === 1 ? '' : 's'}`;
  const what = `written to the Valkey server ${server}, but not confirmed by ${count} within ${timeoutMs} ms`;
  return new AgentUpError('STORAGE_UNAVAILABLE', `the commit was ${what}: it may be lost with that server`, {
    backend: 'valkey',
    fix: 'send it again with the same commitId, once the replicas are back',
    cause: stripped(cause),
  });
}

/** The client hangs the command with all its arguments on its errors: passwords, and what users said. */
function stripped(error: unknown): Error {
  const { name = 'Error', code } = error as { name?: string; code?: unknown };
  return Object.assign(new Error(reasonOf(error)), { name }, typeof code === 'string' && { code });
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ');
  // What is in the wrong place is no fault of the client.
  return error instanceof Error ? error.message.replace(' Please report this.', '') : String(error);
}
