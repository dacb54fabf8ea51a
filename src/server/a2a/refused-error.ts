import { A2AError } from '@a2a-js/sdk/errors';
import type { Failure } from '../failure.js';

/** A refusal of ours on the wire: over HTTP+JSON with its status, over JSON-RPC as an error with its reason. */
export class RefusedError extends A2AError {
  override readonly reason: string;
  readonly transport = 'rest';
  readonly statusCode: number;

  constructor({ text, status, code }: Failure) {
    super(text);
    this.reason = code;
    this.statusCode = status;
  }
}
