import type { ServerResponse } from 'node:http';

/** A refusal as a problem document (RFC 9457). */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly text: string;
}

export function sendProblem(response: ServerResponse, { status, code, text }: Problem): void {
  const document = JSON.stringify({ type: 'about:blank', title: text, status, code });
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/problem+json; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(document));
  response.end(document);
}
