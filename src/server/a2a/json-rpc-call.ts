import type { ServerResponse } from 'node:http';
import { Extensions } from '@a2a-js/sdk';
import {
  type A2ARequestHandler,
  defaultServerCallContextBuilder,
  JsonRpcTransportHandler,
  type ServerCallContext,
} from '@a2a-js/sdk/server';
import type { Logger } from '../../logger.js';
import { ANONYMOUS } from '../identity.js';
import type { Layer, ServedRequest } from '../layers.js';
import { sendJson } from '../reply.js';
import { Caller } from './caller.js';
import { concealInner } from './conceal.js';

const VERSION = '1.0';
/** Their answers are streams. */
const STREAMS = ['SendStreamingMessage', 'SubscribeToTask'];

/**
 * Answers a call of protocol 1.0 whose answer is one JSON text by the SDK's transport itself: express with its routers
 * takes as long for such a call as a turn. Whoever mounts it has set `request.identity` and read the body. What is
 * asked for in any other way is left to the next.
 */
export function jsonRpcCall(handler: A2ARequestHandler, logger: Logger): Layer {
  const transport = new JsonRpcTransportHandler(handler);
  return async (request, response, next) => {
    const { headers, body } = request;
    const plain = headers['a2a-version'] === VERSION && headers['content-type'] === 'application/json';
    if (!plain || !isCall(body)) return next();
    const answer = await transport.handle(body, callContext(request, VERSION));
    concealInner(answer, logger);
    sendJson(response, answer);
  };
}

/** A call as the SDK knows it. `response`: where the answer goes, if it may be a stream. */
export function callContext(
  { headers, identity = ANONYMOUS }: ServedRequest,
  requestedVersion: string,
  response?: ServerResponse,
): ServerCallContext {
  return defaultServerCallContextBuilder({
    extensions: Extensions.parseServiceParameter(headers['a2a-extensions'] as string | undefined),
    user: new Caller(identity, response),
    headers,
    requestedVersion,
  });
}

function isCall(body: unknown): body is Record<string, unknown> {
  if (typeof body !== 'object' || body === null) return false;
  const { method } = body as { method?: unknown };
  return typeof method === 'string' && !STREAMS.includes(method);
}
