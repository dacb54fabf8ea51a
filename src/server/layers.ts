import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';

type Layer = RequestHandler | ErrorRequestHandler;

/**
 * Handlers as one, called as express's router calls them: the next one, or after an error the next one for errors. The
 * router makes a layer of each, which costs every request several times what most handlers do.
 */
export function inOrder(...layers: readonly Layer[]): RequestHandler {
  return (request, response, done) => {
    let at = 0;
    const next = (error?: unknown): void => {
      let layer = layers[at++];
      // As in express, a handler for errors is one with four parameters.
      while (layer && layer.length > 3 !== Boolean(error)) layer = layers[at++];
      if (!layer) {
        done(error);
        return;
      }
      try {
        const ended = error
          ? (layer as ErrorRequestHandler)(error, request, response, next)
          : (layer as RequestHandler)(request, response, next);
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
export function below(path: string, handler: RequestHandler): RequestHandler {
  return (request: Request, response: Response, next) => {
    const { url, baseUrl } = request;
    if (!url.startsWith(path)) return next();
    const rest = url.slice(path.length);
    if (rest !== '' && rest[0] !== '/') return next();
    request.url = rest || '/';
    request.baseUrl = baseUrl + path;
    handler(request, response, (error) => {
      request.url = url;
      request.baseUrl = baseUrl;
      next(error);
    });
  };
}
