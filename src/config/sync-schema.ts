import { z } from 'zod';
import { notes, text } from './schema-notes.js';

/** `sync`: the remote conversation API that is kept up to date. */
export const syncSchema = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe('`false`: every call of the sync does nothing. `ENABLE_CONVERSATION_SYNC=false` does the same.'),
  url: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('The root of the API, `https://shop.example/api/v1`.')
    .register(notes, {
      expects: 'a URL that begins with http:// or https://',
      absent: '`CONVERSATION_API_BASE_URL` of the environment',
    }),
  api_key: text('The key, from the environment: `"${CONVERSATION_API_KEY}"`.')
    .optional()
    .register(notes, { absent: '`CONVERSATION_API_KEY` of the environment' }),
  sub_domain: text('The tenant of users that come without one.').optional(),
  source: text('How the messages of this app are marked on the remote.').default('agentup'),
  timeout: z
    .int()
    .min(1)
    .max(600_000)
    .optional()
    .describe('Milliseconds until one request is given up.')
    .register(notes, {
      unit: 'milliseconds',
      absent: '`CONVERSATION_API_TIMEOUT` of the environment, in seconds, else 10000',
    }),
  outbox: z
    .strictObject({
      max: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(10_000)
        .describe('Most changes of one conversation that wait to be sent.'),
      at_limit: z
        .enum(['drop_oldest', 'reject'])
        .default('drop_oldest')
        .describe('What happens to one more: the oldest is given up and counted, or the new one is refused.'),
    })
    .prefault({})
    .describe('What waits while the remote is down.'),
});

export type SyncConfig = z.output<typeof syncSchema>;
