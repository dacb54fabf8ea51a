import type { RequestHandler } from 'express';
import type { Logger } from '../../logger.js';
import { isSentence } from '../failure.js';

const INTERNAL = -32_603;
const INVALID_PARAMS = -32_602;
const TEXT = 'The request cannot be read.';

/**
 * Stands before a transport of the SDK. What goes wrong while that reads a request, before any handler, it tells the
 * caller in the words of the engine: `Cannot read properties of null`. The caller hears that the request is at fault.
 */
export function conceal(logger: Logger): RequestHandler {
  return (_request, response, next) => {
    const json = response.json.bind(response);
    response.json = (body: unknown) => {
      const told = innerErrorIn(body);
      if (told === undefined) return json(body);
      logger.warn({ told: told.message }, 'a request could not be read');
      const { error, status } = told;
      Object.assign(error, { message: TEXT, ...status });
      if (response.statusCode === 500) response.status(400);
      return json(body);
    };
    next();
  };
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
