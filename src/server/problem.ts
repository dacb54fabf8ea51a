import type { ServerResponse } from 'node:http';
import { sendJson } from './reply.js';

/** A refusal as a problem document (RFC 9457). */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly text: string;
}

export function sendProblem(response: ServerResponse, { status, code, text }: Problem): void {
  response.statusCode = status;
  sendJson(response, { type: 'about:blank', title: text, status, code }, 'application/problem+json');
}
