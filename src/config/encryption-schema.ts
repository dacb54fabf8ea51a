import { z } from 'zod';
import { notes } from './schema-notes.js';

/** 32 bytes as base64, base64url or hexadecimal text. */
const KEY = /^(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=?|[A-Za-z0-9_-]{43}=?)$/;

const key = (description: string): z.ZodString =>
  z.string().regex(KEY).describe(description).register(notes, {
    expects: '32 bytes as base64 or hexadecimal text; `openssl rand -base64 32` makes one',
    secret: true,
  });

/** `state.encryption`: what values are encrypted with before they are stored. */
export const encryptionSchema = z.strictObject({
  key: key('The key, from the environment: `"${STATE_KEY}"`. Make one with `openssl rand -base64 32`.'),
  previous: z
    .array(key('A key that was used before.'))
    .default([])
    .describe('Keys used before: what they encrypted can still be read, until `agentup state reencrypt` has been run.'),
  allow_clear: z
    .boolean()
    .default(false)
    .describe('Read values that were stored in clear, too: for the time until `agentup state reencrypt` has been run.'),
});
