import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Identity } from './identity.js';

/** A request as our own layers see it, whether express is around it or not. */
export interface ServedRequest extends IncomingMessage {
  /** Who sent it, once that is known. */
  identity?: Identity;
  /** Told whether its key or token was right, as soon as that is known. */
  loginEnded?: (right: boolean) => void;
  /** Once it has been read. */
  body?: unknown;
}

export type Next = (error?: unknown) => void;
/** As a handler of express; one that needs nothing of express names no types of it. */
export type Layer<Q = ServedRequest, S = ServerResponse> = (request: Q, response: S, next: Next) => unknown;
export type ErrorLayer<Q = ServedRequest, S = ServerResponse> = (
  error: unknown,
  request: Q,
  response: S,
  next: Next,
) => unknown;

/**
 * Handlers as one, called as express's router calls them: the next one, or after an error the next one for errors. The
 * router makes a layer of each, which costs every request several times what most handlers do.
 */
export function inOrder<Q = ServedRequest, S = ServerResponse>(
  ...layers: readonly (Layer<Q, S> | ErrorLayer<Q, S>)[]
): Layer<Q, S> {
  return (request, response, done) => {
    let at = 0;
    const next: Next = (error) => {
      let layer = layers[at++];
      // As in express, a handler for errors is one with four parameters.
      while (layer && layer.length > 3 !== Boolean(error)) layer = layers[at++];
      if (!layer) {
        done(error);
        return;
      }
      try {
        const ended = error
          ? (layer as ErrorLayer<Q, S>)(error, request, response, next)
          : (layer as Layer<Q, S>)(request, response, next);
        if (ended instanceof Promise) ended.catch(fail);
      } catch (thrown) {
        fail(thrown);
      }
    };
    const fail = (thrown: unknown): void => next(thrown || new Error('a handler failed and said nothing'));
    next();
  };
}

/**
 * A handler for what lies at a path or below, which it sees without that, as behind `app.use(path, handler)`. Looks at
 * the path as most clients write it; `use` it at the path too, where any other way to write it is found.
 */
export function below<Q extends { url: string; baseUrl: string }, S>(path: string, handler: Layer<Q, S>): Layer<Q, S> {
  return (request, response, next) => {
    const { url, baseUrl } = request;
    if (!url.startsWith(path)) return next();
    const rest = url.slice(path.length);
    if (rest !== '' && rest[0] !== '/') return next();
    request.url = rest || '/';
    request.baseUrl = baseUrl + path;
    return handler(request, response, (error) => {
      request.url = url;
      request.baseUrl = baseUrl;
      next(error);
    });
  };
}
