import { AsyncResource } from 'node:async_hooks';
import express from 'express';
import type { ErrorLayer, Layer, ServedRequest } from './layers.js';
import { sendProblem } from './problem.js';

const TYPES = ['application/json', 'application/a2a+json'];

/** Reads JSON bodies of at most `limit` bytes. What it has read nobody after it reads again. */
export function readBody(limit: number): [Layer, ErrorLayer] {
  const any = express.json({ limit, strict: false, type: TYPES });
  return [
    (request, response, next) => {
      if (isPlain(request, limit)) readPlain(request, next);
      else any(request, response, next);
    },
    (error, _request, response, next) => {
      const { status, type } = error as { status?: number; type?: string };
      if (response.headersSent || status === undefined) return next(error);
      const tooLarge = type === 'entity.too.large';
      sendProblem(response, {
        status,
        code: tooLarge ? 'BODY_TOO_LARGE' : 'BODY_MALFORMED',
        text: tooLarge ? `The request is larger than ${limit} bytes.` : 'The request cannot be read as JSON.',
      });
    },
  ];
}

/** Is the body as nearly all clients send it: JSON in UTF-8, not compressed, its length said, nothing of it read yet? */
function isPlain(request: ServedRequest, limit: number): boolean {
  const { headers, readableFlowing, readableEncoding, readable } = request;
  if (!TYPES.includes(headers['content-type'] ?? '') || headers['content-encoding'] !== undefined) return false;
  if (readableFlowing !== null || readableEncoding !== null || !readable) return false;
  const length = Number(headers['content-length']);
  return length > 0 && length <= limit;
}

/** As `express.json()` would, without most of its checks and listeners. */
function readPlain(request: ServedRequest, next: (error?: unknown) => void): void {
  const chunks: Buffer[] = [];
  // Whoever comes after runs in the context that this was called in, not in that of the connection.
  const context = new AsyncResource('read-body');
  const done = (error?: unknown): void => context.runInAsyncScope(next, undefined, error);
  const fail = (cause: unknown): void => done(Object.assign(new Error('not read', { cause }), { status: 400 }));
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  // Comes where the upload breaks off, and never after the end.
  request.once('error', fail);
  request.once('end', () => {
    const bytes = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
    try {
      const text = withoutMark(bytes.toString());
      request.body = text === '' ? {} : JSON.parse(text);
    } catch (error) {
      return fail(error);
    }
    done();
  });
}

/** Without the byte order mark. */
function withoutMark(text: string): string {
  return text.startsWith('\uFEFF') ? text.slice(1) : text;
}
