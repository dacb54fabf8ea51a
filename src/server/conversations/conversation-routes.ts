import { createHash } from 'node:crypto';
import { type NextFunction, type Request, type RequestHandler, type Response, Router } from 'express';
import type { z } from 'zod';
import type { Agent } from '../../agent/agent.js';
import { API_PATH, OPERATIONS, type Operation, type OperationName } from '../../conversation-api/operations.js';
import { AgentUpError, isAgentUpError } from '../../errors.js';
import type { Logger } from '../../logger.js';
import { FailedLogins, limitFailedLogins } from '../auth/failed-logins.js';
import { clientAddress } from '../client-address.js';
import { isMalformedAddress } from '../express-app.js';
import type { ServedRequest } from '../layers.js';
import { rateLimited } from '../middleware.js';
import { readBody } from '../read-body.js';
import { ApiError } from './api-error.js';
import { ConversationService } from './conversation-service.js';
import { type ApiCall, handlersOf } from './handlers.js';
import { openApi } from './openapi.js';
import { SERVICE_KEY_HEADER, type ServiceKey, serviceKeys } from './service-keys.js';

/**
 * The conversations of an agent as an HTTP API below `/api/v1`.
 * @param logins counts wrong keys, together with those of other routes
 * @throws CONFIG_INVALID where no key is configured: nobody could use it, and everybody must not
 */
export function conversationRoutes(
  agent: Agent,
  logger: Logger,
  logins = new FailedLogins(agent.config.security.login_limit),
): RequestHandler {
  const { conversations, security, server, agent: about } = agent.config;
  if (conversations.api_keys.length === 0) {
    throw new AgentUpError('CONFIG_INVALID', 'the conversation API has no keys', {
      fix: 'add one: `conversations: { api_keys: [{ key: "${SERVICE_API_KEY}", sub_domains: [my-business] }] }`',
    });
  }
  const keyOf = serviceKeys(conversations);
  const handlers = handlersOf(new ConversationService(agent, conversations.ttl), conversations);
  const document = openApi(about.name, about.version ?? '0.0.0');
  const addressOf = clientAddress(server.proxies);
  const router = Router();
  router.get('/openapi.json', (_request, response) => {
    response.json(document);
  });
  router.use(limitFailedLogins(logins, SERVICE_KEY_HEADER, addressOf));
  router.use((request: Request & ServedRequest, response: Response, next: NextFunction) => {
    try {
      const key = keyOf(headerOf(request, SERVICE_KEY_HEADER));
      // What a rate limit counts by.
      request.identity = { userId: `service ${key.id}`, tenantId: undefined };
      response.locals['serviceKey'] = key;
      request.loginEnded?.(true);
      next();
    } catch (error) {
      request.loginEnded?.(false);
      refuse(error, response, logger);
    }
  });
  if (security.rate_limit.requests > 0) router.use(rateLimited(security.rate_limit, addressOf));
  router.use(...readBody(server.body_limit));
  for (const [name, operation] of Object.entries(OPERATIONS) as [OperationName, Operation][]) {
    router[operation.method](operation.path, async (request, response) => {
      try {
        const call = checked(operation, request, response.locals['serviceKey'] as ServiceKey);
        const { status, body, etag, replayed } = await handlers[name](call);
        if (etag !== undefined) response.set('ETag', etag);
        if (replayed) response.set('Idempotency-Replayed', 'true');
        if (operation.method === 'get' && etag !== undefined && request.headers['if-none-match'] === etag) {
          response.status(304).end();
        } else response.status(status).json(body);
      } catch (error) {
        refuse(error, response, logger);
      }
    });
  }
  router.use((_request, response) =>
    refuse(new ApiError(404, 'NOT_FOUND', 'There is nothing here.'), response, logger),
  );
  // Whoever mounts this may leave errors to express, which shows them to the caller.
  router.use((error: unknown, _request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) return next(error);
    refuse(isMalformedAddress(error) ? new ApiError(400, 'INVALID', 'This is no address.') : error, response, logger);
  });
  const mounted = Router();
  mounted.use(API_PATH, router);
  return mounted;
}

function checked(operation: Operation, request: Request, key: ServiceKey): ApiCall {
  const errors: { path: string; message: string }[] = [];
  const parse = (place: string, schema: z.ZodType, value: unknown): unknown => {
    const { data, error } = schema.safeParse(value);
    for (const issue of (error?.issues ?? []).flatMap(told)) {
      errors.push({ path: [place, ...issue.path.map(String)].join('.'), message: issue.message });
    }
    return data;
  };
  const params: Record<string, string> = {};
  for (const [name, schema] of Object.entries(operation.params)) {
    params[name] = parse('path', schema, request.params[name]) as string;
  }
  const query = parse('query', operation.query, request.query);
  const body = operation.body && parse('body', operation.body, request.body ?? {});
  const idempotencyKey = headerOf(request, 'idempotency-key');
  if (idempotencyKey !== undefined && (idempotencyKey === '' || idempotencyKey.length > 200)) {
    errors.push({ path: 'header.Idempotency-Key', message: 'must have 1 to 200 characters' });
  }
  if (errors.length > 0) throw new ApiError(422, 'INVALID', 'The request is not valid.', errors);
  const fingerprint = createHash('sha256')
    .update(JSON.stringify([operation.id, body ?? null]))
    .digest('base64url');
  const ifMatch = headerOf(request, 'if-match');
  return {
    key,
    params,
    query,
    body,
    guards: {
      fingerprint,
      ...(idempotencyKey !== undefined && { idempotencyKey: `${key.id} ${idempotencyKey}` }),
      ...(ifMatch !== undefined && { ifMatch }),
    },
  };
}

/** Of what is none of several things, what keeps it from being the one that it is most like, where that lies within. */
function told(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const [nearest = []] = [...issue.errors].sort((a, b) => a.length - b.length);
  if (!nearest.some(({ path }) => path.length > 0)) return [issue];
  return nearest.flatMap((inner) => told({ ...inner, path: [...issue.path, ...inner.path] }));
}

function headerOf(request: Request, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function refuse(error: unknown, response: Response, logger: Logger): void {
  const { status, code, message, errors } = apiErrorOf(error, logger);
  if (status === 503) response.set('Retry-After', '1');
  if (status === 401) response.set('WWW-Authenticate', 'ApiKey');
  response
    .status(status)
    .type('application/problem+json')
    .json({ type: 'about:blank', title: message, status, code, ...(errors && { errors }) });
}

/** What a caller may know of an error; the rest is for the log. */
function apiErrorOf(error: unknown, logger: Logger): ApiError {
  if (error instanceof ApiError) return error;
  if (isAgentUpError(error)) {
    if (error.code === 'LIMIT_EXCEEDED')
      return new ApiError(422, 'LIMIT_EXCEEDED', 'Something is larger than it may be.');
    if (error.code === 'VALUE_NOT_JSON' || error.code === 'INVALID_ARGUMENT' || error.code === 'CONTEXT_ID_MISSING') {
      return new ApiError(422, 'INVALID', 'The request is not valid.');
    }
    if (error.code === 'WRONG_TYPE') return new ApiError(409, 'WRONG_TYPE', 'An entry holds something else.');
    if (error.code === 'CONVERSATION_BUSY')
      return new ApiError(503, 'BUSY', 'The conversation is busy. Try again later.');
    if (error.code === 'STORAGE_UNAVAILABLE' || error.code === 'AGENT_CLOSED') {
      logger.error(error, 'the conversation API cannot reach its storage');
      return new ApiError(503, 'UNAVAILABLE', 'The conversations cannot be reached. Try again later.');
    }
  }
  logger.error(error, 'a request to the conversation API failed');
  return new ApiError(500, 'INTERNAL', 'Something went wrong.');
}
