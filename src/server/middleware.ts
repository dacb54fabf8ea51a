import type { ServerResponse } from 'node:http';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import type { SecurityConfig } from '../config/index.js';
import { isAgentUpError } from '../errors.js';
import type { Logger } from '../logger.js';
import type { Authenticator } from './auth/authenticator.js';
import type { AddressOf } from './client-address.js';
import { ANONYMOUS, type Identity } from './identity.js';
import type { Layer, ServedRequest } from './layers.js';
import { sendProblem } from './problem.js';

/**
 * Only requests that name one of these hosts. A web page may make the name of its own server point to this machine,
 * and its script then reaches what listens here for nobody else (DNS rebinding).
 */
export function forHosts(isKnown: (hostname: string) => boolean): Layer {
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
export function identify(authenticate: Authenticator, { auth }: SecurityConfig, logger: Logger): Layer {
  const refuse = (error: unknown, request: ServedRequest, response: ServerResponse): void => {
    if (isAgentUpError(error, 'UNAUTHENTICATED')) {
      request.loginEnded?.(false);
      response.setHeader('WWW-Authenticate', auth === 'bearer' ? 'Bearer error="invalid_token"' : 'ApiKey');
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
export function rateLimited({ requests, seconds }: SecurityConfig['rate_limit'], addressOf: AddressOf): Layer {
  const limited = rateLimit({
    limit: requests,
    windowMs: seconds * 1000,
    standardHeaders: 'draft-7',
    legacyHeaders: false,
    // Its checks of an application look at express, which is not always around.
    validate: false,
    keyGenerator: (request: ServedRequest) => {
      const { userId, tenantId } = request.identity ?? ANONYMOUS;
      return userId === undefined
        ? `address ${ipKeyGenerator(addressOf(request))}`
        : `user ${JSON.stringify([tenantId, userId])}`;
    },
    handler: (_request, response) =>
      sendProblem(response, { status: 429, code: 'RATE_LIMITED', text: 'Too many requests. Try again later.' }),
  });
  // Of express it uses what our own key and refusal have no need of.
  return limited as unknown as Layer;
}

/** Nothing new while the server stops. */
export function refuseWhen(isStopping: () => boolean): Layer {
  return (_request, response, next) => {
    if (!isStopping()) return next();
    response.setHeader('Connection', 'close');
    response.setHeader('Retry-After', '5');
    sendProblem(response, { status: 503, code: 'AGENT_CLOSED', text: 'This agent is stopping. Try again later.' });
  };
}
