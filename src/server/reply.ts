import type { Request, Response } from 'express';

const SETTINGS = ['json escape', 'json replacer', 'json spaces'];

/**
 * What a handler calls as `response.json`. Express hashes every body for an entity tag, which answers to POST have no
 * use for: nobody asks whether they have changed.
 */
export function jsonWriter(request: Request, response: Response): (body: unknown) => Response {
  // An application that this one is mounted in may have a say in how JSON is written.
  if (request.method !== 'POST' || SETTINGS.some((name) => request.app.get(name) !== undefined)) {
    return response.json.bind(response);
  }
  return (body) => {
    const text = JSON.stringify(body);
    const type = response.getHeader('Content-Type') ?? 'application/json';
    response.setHeader('Content-Type', `${type}; charset=utf-8`);
    response.setHeader('Content-Length', Buffer.byteLength(text));
    return response.end(text);
  };
}
