import type { ServerResponse } from 'node:http';
import type { ServerCallContext, User } from '@a2a-js/sdk/server';
import { ANONYMOUS, type Identity } from '../identity.js';

/** Who calls, as the SDK knows callers. */
export class Caller implements User {
  readonly identity: Identity;
  /** Where the answer goes, if it may be a stream. */
  readonly response: ServerResponse | undefined;

  constructor(identity: Identity, response?: ServerResponse) {
    this.identity = identity;
    this.response = response;
  }

  get isAuthenticated(): boolean {
    return this.identity.userId !== undefined;
  }

  get userName(): string {
    return this.identity.userId ?? '';
  }
}

/** Whose tasks and conversations a call is about. */
export interface CallScope {
  readonly tenantId: string | undefined;
  /** `undefined`: an anonymous caller's. */
  readonly userId: string | undefined;
}

export function scopeOf({ user, tenant }: ServerCallContext): CallScope {
  const identity = user instanceof Caller ? user.identity : ANONYMOUS;
  const userId = identity.userId ?? (user?.isAuthenticated ? user.userName : undefined);
  return { tenantId: identity.tenantId ?? (tenant || undefined), userId };
}
