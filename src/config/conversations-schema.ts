import { z } from 'zod';
import { notes, text } from './schema-notes.js';

const serviceKeySchema = z.strictObject({
  key: text('The key, from the environment: `"${SERVICE_API_KEY}"`.').optional().register(notes, {
    absent: '`key_sha256` is given',
  }),
  key_sha256: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/)
    .optional()
    .describe('Its SHA-256 in hexadecimal, where the key itself is not to be on this machine.')
    .register(notes, { expects: '64 hexadecimal digits', absent: '`key` is given' }),
  sub_domains: z
    .array(text('A tenant; `*`: all.'))
    .min(1)
    .describe('The tenants whose conversations it opens; `*`: all.'),
});

const numberSchema = z.strictObject({
  phone: z
    .string()
    .regex(/^\+?[1-9]\d{6,14}$/)
    .describe('The number, in E.164 and in quotes: `"+51999888777"`.')
    .register(notes, { expects: 'a telephone number in E.164, as a text' }),
  sub_domain: text('Whose it is.'),
});

/** `conversations`: the conversation API. */
export const conversationsSchema = z.strictObject({
  serve: z.boolean().default(false).describe('`agentup run` serves the conversation API too, at `/api/v1`.'),
  api_keys: z.array(serviceKeySchema).default([]).describe('Who may use it, with `X-Service-API-Key`.'),
  ttl: z
    .union([z.int().min(1).max(3_153_600_000), z.literal('none')])
    .default(86_400)
    .describe('Seconds until a conversation made by the API is forgotten when nobody writes to it.')
    .register(notes, { unit: 'seconds', expects: 'a whole number of seconds from 1 on, or none' }),
  numbers: z
    .array(numberSchema)
    .default([])
    .describe('Telephone numbers of businesses, for `GET /whatsapp/lookup/tenant/:phone`.'),
});
