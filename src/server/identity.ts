/** Who asks. */
export interface Identity {
  /** `undefined`: nobody in particular. */
  readonly userId: string | undefined;
  readonly tenantId: string | undefined;
}

export const ANONYMOUS: Identity = { userId: undefined, tenantId: undefined };
