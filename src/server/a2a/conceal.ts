import type { Request, RequestHandler } from 'express';
import type { Logger } from '../../logger.js';
import { isSentence } from '../failure.js';
import { jsonWriter } from '../reply.js';

const INTERNAL = -32_603;
const INVALID_PARAMS = -32_602;
const METHOD_NOT_FOUND = -32_601;
const TEXT = 'The request cannot be read.';

/**
 * Stands before a transport of the SDK. What goes wrong while that reads a request, before any handler, it tells the
 * caller in the words of the engine: `Cannot read properties of null`. The caller hears that the request is at fault.
 * And who asks by hand for a method of today without naming the version hears what is missing.
 */
export function conceal(logger: Logger): RequestHandler {
  return (request, response, next) => {
    const json = jsonWriter(request, response);
    response.json = (body: unknown) => {
      if (!concealInner(body, logger)) return json(isVersionMissing(request, body) ? withHint(body) : body);
      if (response.statusCode === 500) response.status(400);
      return json(body);
    };
    next();
  };
}

/** Puts other words in an answer that tells of an error which none of ours is. @returns whether it did */
export function concealInner(body: unknown, logger: Logger): boolean {
  const told = innerErrorIn(body);
  if (told === undefined) return false;
  logger.warn({ told: told.message }, 'a request could not be read');
  Object.assign(told.error, { message: TEXT, ...told.status });
  return true;
}

interface NotFound {
  readonly error: { readonly code: number; readonly message: string };
}

/** Without the header a request is one of protocol 0.3, whose methods have other names (`message/send`). */
function isVersionMissing(request: Request, body: unknown): body is NotFound {
  if (request.headers['a2a-version'] !== undefined) return false;
  const { code } = ((body as { error?: unknown } | null)?.error ?? {}) as { code?: unknown };
  const { method } = ((request.body as unknown) ?? {}) as { method?: unknown };
  return code === METHOD_NOT_FOUND && typeof method === 'string' && /^[A-Z]\w+$/.test(method);
}

function withHint(body: NotFound): NotFound {
  const message = `${body.error.message}; the methods of protocol 1.0 need the header "A2A-Version: 1.0"`;
  return { ...body, error: { ...body.error, message } };
}

interface Told {
  readonly error: { code?: unknown; status?: unknown; message?: unknown };
  readonly message: string;
  /** What the error is then. */
  readonly status: { readonly code: number; readonly status?: string };
}

/** An error that none of ours is, in the shapes of both transports and both versions of the protocol. */
function innerErrorIn(body: unknown): Told | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const error = ('error' in body ? body.error : body) as Told['error'] | null;
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, status, message } = error;
  if (typeof message !== 'string' || isSentence(message)) return undefined;
  if (code === INTERNAL) return { error, message, status: { code: INVALID_PARAMS } };
  if (code === 500 && status === 'INTERNAL') {
    return { error, message, status: { code: 400, status: 'INVALID_ARGUMENT' } };
  }
  return undefined;
}
