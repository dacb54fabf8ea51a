import type { Request, RequestHandler, Response } from 'express';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import type { SecurityConfig } from '../config/index.js';
import { isAgentUpError } from '../errors.js';
import type { Logger } from '../logger.js';
import type { Authenticator } from './auth/authenticator.js';
import type { Identity } from './identity.js';

declare module 'express-serve-static-core' {
  interface Request {
    /** Who sent it, once that is known. */
    identity?: Identity;
    /** Told whether its key or token was right, as soon as that is known. */
    loginEnded?: (right: boolean) => void;
  }
}

/** A refusal as a problem document (RFC 9457). */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly text: string;
}

export function sendProblem(response: Response, { status, code, text }: Problem): void {
  response.status(status).type('application/problem+json').json({ type: 'about:blank', title: text, status, code });
}

/**
 * Only requests that name one of these hosts. A web page may make the name of its own server point to this machine,
 * and its script then reaches what listens here for nobody else (DNS rebinding).
 */
export function forHosts(isKnown: (hostname: string) => boolean): RequestHandler {
  /** The last one that was let in: mostly it is the only one. */
  let last: string | undefined;
  return (request, response, next) => {
    const host = request.headers.host ?? '';
    if (host === last) return next();
    if (URL.canParse(`http://${host}`) && isKnown(new URL(`http://${host}`).hostname)) {
      last = host;
      return next();
    }
    sendProblem(response, { status: 403, code: 'HOST_FORBIDDEN', text: 'This host is not served here.' });
  };
}

/** Finds out who asks, or refuses. */
export function identify(authenticate: Authenticator, { auth }: SecurityConfig, logger: Logger): RequestHandler {
  const refuse = (error: unknown, request: Request, response: Response): void => {
    if (isAgentUpError(error, 'UNAUTHENTICATED')) {
      request.loginEnded?.(false);
      response.set('WWW-Authenticate', auth === 'bearer' ? 'Bearer error="invalid_token"' : 'ApiKey');
      sendProblem(response, { status: 401, code: error.code, text: error.message });
      return;
    }
    logger.error(error, 'a caller could not be authenticated');
    const text = 'Nobody can be let in right now. Try again later.';
    sendProblem(response, { status: 503, code: 'AUTH_UNAVAILABLE', text });
  };
  return (request, response, next) => {
    const admit = (identity: Identity): void => {
      request.identity = identity;
      request.loginEnded?.(true);
      next();
    };
    let known: Identity | Promise<Identity>;
    try {
      known = authenticate(request.headers);
    } catch (error) {
      return refuse(error, request, response);
    }
    if (!(known instanceof Promise)) return admit(known);
    known.then(admit, (error: unknown) => refuse(error, request, response));
  };
}

/** So many requests of one caller in so many seconds; of an address where callers have no name. */
export function rateLimited({ requests, seconds }: SecurityConfig['rate_limit']): RequestHandler {
  return rateLimit({
    limit: requests,
    windowMs: seconds * 1000,
    standardHeaders: 'draft-7',
    legacyHeaders: false,
    keyGenerator: ({ identity, ip }: Request) =>
      identity?.userId === undefined
        ? `address ${ipKeyGenerator(ip ?? '')}`
        : `user ${JSON.stringify([identity.tenantId, identity.userId])}`,
    handler: (_request, response) =>
      sendProblem(response, { status: 429, code: 'RATE_LIMITED', text: 'Too many requests. Try again later.' }),
  });
}

/** Nothing new while the server stops. */
export function refuseWhen(isStopping: () => boolean): RequestHandler {
  return (_request, response, next) => {
    if (!isStopping()) return next();
    response.set({ Connection: 'close', 'Retry-After': '5' });
    sendProblem(response, { status: 503, code: 'AGENT_CLOSED', text: 'This agent is stopping. Try again later.' });
  };
}

/** Is this what express says of an address that is not encoded as addresses are? */
export function isMalformedAddress(error: unknown): boolean {
  const { status } = (typeof error === 'object' && error !== null ? error : {}) as { status?: unknown };
  return error instanceof URIError && status === 400;
}
