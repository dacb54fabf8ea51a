import { LegacyJsonRpcTransportHandler } from '@a2a-js/sdk/compat/v0_3/server';
import { VersionNotSupportedError } from '@a2a-js/sdk/errors';
import { type A2ARequestHandler, JsonRpcTransportHandler } from '@a2a-js/sdk/server';
import type { Request, Response } from 'express';
import type { Layer } from '../layers.js';
import { callContext } from './json-rpc-call.js';

const HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-cache',
  // A proxy that collects an answer before it hands it on is asked not to.
  'X-Accel-Buffering': 'no',
};

/** How a version of the protocol is spoken. */
interface Dialect {
  readonly transport: Pick<JsonRpcTransportHandler | LegacyJsonRpcTransportHandler, 'handle'>;
  readonly errorOf: (error: unknown) => unknown;
  /** Methods that are answered by a stream. */
  readonly streams: readonly string[];
  /** Those of them that are, also where they are refused. */
  readonly always: readonly string[];
}

/**
 * Streams over JSON-RPC, by the SDK's transport. The SDK's own handler for express prints what each stream is refused
 * for, and each call of a version that it does not know: anybody could fill a log with stack traces. Whoever mounts
 * this has read the body. What else is asked for is left to the next.
 */
export function jsonRpcStreams(handler: A2ARequestHandler): Layer<Request, Response> {
  const dialects = new Map<string, Dialect>([
    [
      '1.0',
      {
        transport: new JsonRpcTransportHandler(handler),
        errorOf: JsonRpcTransportHandler.mapToJSONRPCError,
        streams: ['SendStreamingMessage', 'SubscribeToTask'],
        always: [],
      },
    ],
    [
      '0.3',
      {
        transport: new LegacyJsonRpcTransportHandler(handler),
        errorOf: LegacyJsonRpcTransportHandler.mapToLegacyJSONRPCError,
        streams: ['message/stream', 'tasks/resubscribe'],
        always: ['tasks/resubscribe'],
      },
    ],
  ]);
  const unknown = `is not spoken here; the versions of the protocol are ${[...dialects.keys()].join(' and ')}`;
  return (request, response, next) => {
    if (request.method !== 'POST' || request.path !== '/') return next();
    const { id, method } = (request.body ?? {}) as { id?: unknown; method?: unknown };
    const version = request.get('A2A-Version') || '0.3';
    const dialect = dialects.get(version);
    if (!dialect) {
      const error = JsonRpcTransportHandler.mapToJSONRPCError(new VersionNotSupportedError(`${version} ${unknown}`));
      return response.json(failure(id, error));
    }
    if (!dialect.streams.includes(method as string) || !request.is('application/json')) return next();
    return stream(dialect, version, request, response);
  };
}

async function stream(dialect: Dialect, version: string, request: Request, response: Response): Promise<void> {
  const { id, method } = request.body as { id?: unknown; method: string };
  const open = (): void => {
    if (!response.headersSent) response.writeHead(200, HEADERS).flushHeaders();
  };
  const answer = await dialect.transport.handle(request.body, callContext(request, version, response));
  if (!(Symbol.asyncIterator in answer)) {
    // Refused at once.
    response.json(answer);
    return;
  }
  if (dialect.always.includes(method)) open();
  try {
    for await (const event of answer) {
      open();
      response.write(`data: ${JSON.stringify(event)}\n\n`);
    }
    open();
  } catch (error) {
    const told = failure(id, dialect.errorOf(error));
    if (!response.headersSent) {
      response.json(told);
      return;
    }
    response.write(`event: error\ndata: ${JSON.stringify(told)}\n\n`);
  }
  response.end();
}

function failure(id: unknown, error: unknown): object {
  return { jsonrpc: '2.0', id: id ?? null, error };
}
