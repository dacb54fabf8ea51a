/** Every way `agentup` can fail, by name. Tests and callers compare codes, never messages. */
export type ErrorCode =
  // arguments and values
  | 'INVALID_ARGUMENT'
  | 'TTL_INVALID'
  | 'VALUE_NOT_JSON'
  | 'SCHEMA_INVALID'
  | 'LIMIT_EXCEEDED'
  | 'WRONG_TYPE'
  | 'INTEGER_OVERFLOW'
  // conversations and turns
  | 'CONTEXT_ID_MISSING'
  | 'CONTEXT_FORBIDDEN'
  | 'CONVERSATION_BUSY'
  | 'CONFLICT'
  | 'LEASE_LOST'
  | 'TURN_ENDED'
  | 'TURN_CANCELLED'
  | 'REPLY_NOT_KEPT'
  // storage
  | 'STORAGE_UNAVAILABLE'
  | 'STORAGE_FAILED'
  | 'STORAGE_CLOSED'
  | 'RECORD_CORRUPT'
  // encryption
  | 'KEY_MISSING'
  | 'DECRYPTION_FAILED'
  | 'VALUE_NOT_ENCRYPTED'
  // operations
  | 'EXPORT_INVALID'
  | 'CONTEXT_NOT_FOUND'
  // skills
  | 'DECORATOR_MISUSE'
  | 'NOT_INJECTED'
  | 'SKILL_LOAD_FAILED'
  | 'SKILL_NOT_FOUND'
  // tools
  | 'TOOL_NOT_FOUND'
  | 'TOOL_INPUT_INVALID'
  | 'TOOL_FAILED'
  | 'TOOL_TIMEOUT'
  // configuration and agent
  | 'CONFIG_NOT_FOUND'
  | 'CONFIG_INVALID'
  | 'AGENT_CLOSED'
  // server
  | 'UNAUTHENTICATED'
  | 'AUTH_UNAVAILABLE'
  | 'SERVER_INSECURE'
  | 'SERVER_FAILED'
  // sync with a remote conversation API
  | 'SYNC_UNAVAILABLE'
  | 'SYNC_REFUSED'
  | 'SYNC_NOT_FOUND'
  // command line
  | 'USAGE'
  | 'CANCELLED'
  | 'FILE_CONFLICT'
  | 'FILE_UNWRITABLE';

/** What an error says beside its sentence. Never a secret: urls are redacted before they get here. */
export interface ErrorDetails {
  /** Conversation the call was about. */
  contextId?: string;
  userId?: string;
  /** Id of the record inside its space. */
  recordId?: string;
  space?: string;
  /** Name of the offending argument or option. */
  argument?: string;
  /** Variable, metadata entry or field. */
  field?: string;
  /** Path inside a value (`$.a[3]`), a configuration (`state.url`), or of a file. */
  path?: string;
  /** Absolute path of the file concerned. */
  file?: string;
  line?: number;
  column?: number;
  /** Milliseconds after which trying again is worth it. */
  retryAfterMs?: number;
  /** Name of the limit, its value, and what was met. */
  limit?: string;
  max?: number;
  actual?: number;
  skillId?: string;
  /** Name of the tool. */
  tool?: string;
  backend?: string;
  /** HTTP status of a remote's answer. */
  status?: number;
  /** What a remote calls the error. */
  reason?: string;
  /** What the caller can do about it, one sentence. */
  fix?: string;
  /** Issues of a schema, findings of a validation. */
  issues?: readonly unknown[];
}

const BRAND = Symbol.for('agentup.error');

/**
 * The one error class. `code` says what happened, `details` with which ids, `cause` what was underneath.
 * `instanceof` also recognises an error made by another installed copy of the package.
 */
export class AgentUpError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails & { cause?: unknown } = {}) {
    const { cause, ...rest } = details;
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'AgentUpError';
    this.code = code;
    this.details = rest;
    Object.defineProperty(this, BRAND, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && BRAND in value;
  }
}

/** Is this an `AgentUpError`, and of this code where one is named? */
export function isAgentUpError(error: unknown, code?: ErrorCode): error is AgentUpError {
  return error instanceof AgentUpError && (code === undefined || error.code === code);
}

/** The sentence of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
