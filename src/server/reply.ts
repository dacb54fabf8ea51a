import type { ServerResponse } from 'node:http';
import type { Request, Response } from 'express';

const JSON_TYPE = 'application/json';
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
    sendJson(response, body, String(response.getHeader('Content-Type') ?? JSON_TYPE));
    return response;
  };
}

/** Ends a response with JSON, without anything of express. */
export function sendJson(response: ServerResponse, body: unknown, type = JSON_TYPE): void {
  const text = JSON.stringify(body);
  response.setHeader('Content-Type', `${type}; charset=utf-8`);
  response.setHeader('Content-Length', Buffer.byteLength(text));
  response.end(text);
}
