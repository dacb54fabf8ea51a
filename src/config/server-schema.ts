import { z } from 'zod';
import { notes, seconds, text } from './schema-notes.js';

/** A hundred years. */
const MAX_TTL = 3_153_600_000;

/** `server`: how `agentup run` serves the agent. */
export const serverSchema = z.strictObject({
  host: text('The address to listen on. `0.0.0.0`: all of this machine.').default('127.0.0.1'),
  port: z.int().min(0).max(65_535).default(8000).describe('The port to listen on. 0: any free one.'),
  url: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('Where clients reach the agent, as its card says: set it behind a proxy.')
    .register(notes, { expects: 'a URL that begins with http:// or https://', absent: 'made from host and port' }),
  mcp: z.boolean().default(false).describe('Serve skills and tools over MCP too, at `/mcp`.'),
  proxies: z
    .int()
    .min(0)
    .max(10)
    .default(0)
    .describe('Proxies before the server whose `X-Forwarded-For` is believed: whom a limit is for.'),
  body_limit: z
    .int()
    .min(1024)
    .max(1_073_741_824)
    .default(1_048_576)
    .describe('Most bytes of one request; a larger one is refused.'),
  parts_limit: z
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe('Most parts of one message, and most tasks that it refers to.'),
  history_limit: z
    .int()
    .min(1)
    .max(100_000)
    .default(200)
    .describe('Most messages kept with one A2A task; older ones are dropped.'),
  task_ttl: z
    .union([z.int().min(1).max(MAX_TTL), z.literal('none')])
    .default(604_800)
    .describe('Seconds that an A2A task is kept after it last changed. `none`: for ever.')
    .register(notes, { unit: 'seconds', expects: 'a whole number of seconds from 1 on, or none' }),
  push_hosts: z
    .array(text('A host name.'))
    .default([])
    .describe('Hosts that notifications of tasks may be sent to; `*`: any. Without one no notifications are offered.'),
  stop_timeout: seconds(
    'Seconds that running turns have to end when the server stops; then they are cancelled.',
  ).default(10),
});
