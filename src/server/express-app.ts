import type { ServerResponse } from 'node:http';
import express, { type Express } from 'express';
import type { Logger } from '../logger.js';
import type { ErrorLayer } from './layers.js';
import { sendProblem } from './problem.js';

/** An express application that answers what it does not have, and what fails in it, as all of our routes do. */
export function expressApp(logger: Logger, use: (app: Express) => void): Express {
  const app = express();
  app.disable('x-powered-by');
  use(app);
  app.use(nothingHere);
  app.use(failed(logger));
  return app;
}

export function nothingHere(_request: unknown, response: ServerResponse): void {
  const text = 'There is nothing here; see /.well-known/agent-card.json.';
  sendProblem(response, { status: 404, code: 'NOT_FOUND', text });
}

/** What a request comes to that failed in no way we know of. */
export function failed(logger: Logger): ErrorLayer<unknown> {
  return (error, _request, response, next) => {
    if (isMalformedAddress(error)) {
      return sendProblem(response, { status: 400, code: 'ADDRESS_MALFORMED', text: 'This is no address.' });
    }
    logger.error(error, 'a request failed');
    if (response.headersSent) return next(error);
    sendProblem(response, { status: 500, code: 'INTERNAL', text: 'Something went wrong.' });
  };
}

/** Is this what express says of an address that is not encoded as addresses are? */
export function isMalformedAddress(error: unknown): boolean {
  const { status } = (typeof error === 'object' && error !== null ? error : {}) as { status?: unknown };
  return error instanceof URIError && status === 400;
}
