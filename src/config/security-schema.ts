import { z } from 'zod';
import { keyFields, notes, seconds, text } from './schema-notes.js';

const apiKeySchema = z.strictObject({
  ...keyFields('AGENT_API_KEY'),
  user: text('Whose key it is: the `userId` of its tasks.'),
  tenant: text('The `tenantId` of its tasks.').optional(),
});

const bearerSchema = z.strictObject({
  secret: z
    .string()
    .min(32)
    .optional()
    .describe('The secret that tokens are signed with (HS256), 32 characters at least, from the environment.')
    .register(notes, { expects: 'a text of at least 32 characters', absent: '`jwks_url` is given' }),
  jwks_url: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('Where the public keys of the issuer are: tokens signed with RS256, ES256 or EdDSA and their kin.')
    .register(notes, { expects: 'a URL that begins with http:// or https://', absent: '`secret` is given' }),
  issuer: text('The `iss` that a token must have.').optional(),
  audience: text('The `aud` that a token must have.').optional(),
  user_claim: text('The claim that names the user.').default('sub'),
  tenant_claim: text('The claim that names the tenant.').optional(),
});

/** `security`: who may talk to the agent over the network. */
export const securitySchema = z.strictObject({
  auth: z
    .enum(['none', 'api_key', 'bearer'])
    .default('none')
    .describe(
      'How callers prove who they are: not at all, with a key in `X-API-Key`, or with a JSON Web Token in `Authorization: Bearer`.',
    ),
  allow_anonymous: z
    .boolean()
    .default(false)
    .describe('With `auth: none`, serve other machines too. Anyone who reaches the port can use the agent.'),
  api_keys: z.array(apiKeySchema).default([]).describe('api_key: the keys, and whose they are.'),
  bearer: bearerSchema.optional().describe('bearer: how tokens are checked.'),
  context_ids: z
    .enum(['server', 'client'])
    .default('server')
    .describe(
      'Whose context ids an anonymous caller may use: `server`, only those this agent made, which cannot be guessed; `client`, any. A caller with a name has conversations of their own under any id.',
    ),
  rate_limit: z
    .strictObject({
      requests: z.int().min(0).max(10_000_000).default(600).describe('Most requests of one caller. 0: no limit.'),
      seconds: seconds('In how many seconds.').default(60),
    })
    .prefault({})
    .describe('How often one caller, or one address without a name, may ask; in each process.'),
  login_limit: z
    .strictObject({
      failures: z
        .int()
        .min(0)
        .max(10_000_000)
        .default(30)
        .describe('Most wrong keys and tokens, the same one again not counted. 0: no limit.'),
      seconds: seconds('In how many seconds, from the first on; then the address may try again.').default(60),
    })
    .prefault({})
    .describe(
      'How many wrong keys and tokens may come from one address before only those that were right before are let in from it; in each process.',
    ),
});
