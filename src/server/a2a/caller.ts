import type { ServerCallContext, User } from '@a2a-js/sdk/server';
import { ANONYMOUS, type Identity } from '../identity.js';

/** Who calls, as the SDK knows callers. */
export class Caller implements User {
  readonly identity: Identity;

  constructor(identity: Identity) {
    this.identity = identity;
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
