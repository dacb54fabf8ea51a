import { z } from 'zod';
import type { FindingCode } from './finding.js';

/** What the messages and the reference say about a key beyond its type. */
export interface SchemaNote {
  /** Completes "must be …". Default: made from the schema. */
  readonly expects?: string;
  /** The finding for a value that does not fit. Default: `WRONG_TYPE` or `INVALID_VALUE`. */
  readonly code?: FindingCode;
  readonly unit?: 'seconds' | 'milliseconds';
  /** What holds when the key is left out, where that is not a default value. */
  readonly absent?: string;
  /** A value that no message repeats. */
  readonly secret?: boolean;
}

export const notes = z.registry<SchemaNote>();

/** A timer takes 24 days; nothing sensible waits a day. */
const MAX_SECONDS = 86_400;

/** A text that is not empty. */
export const text = (description: string): z.ZodString => z.string().min(1).describe(description);
/** Whole seconds, a day at most. */
export const seconds = (description: string): z.ZodInt =>
  z.int().min(1).max(MAX_SECONDS).describe(description).register(notes, { unit: 'seconds' });

/** A key of a caller: itself, or its digest. */
export const keyFields = (variable: string) => ({
  key: text(`The key, from the environment: \`"\${${variable}}"\`.`).optional().register(notes, {
    absent: '`key_sha256` is given',
  }),
  key_sha256: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/)
    .optional()
    .describe('Its SHA-256 in hexadecimal, where the key itself is not to be on this machine.')
    .register(notes, { expects: '64 hexadecimal digits', absent: '`key` is given' }),
});
