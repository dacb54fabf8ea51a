import { z } from 'zod';
import { SKILL_ID } from '../skill-id.js';
import { conversationsSchema } from './conversations-schema.js';
import { encryptionSchema } from './encryption-schema.js';
import { notes, seconds, text } from './schema-notes.js';
import { securitySchema } from './security-schema.js';
import { serverSchema } from './server-schema.js';
import { syncSchema } from './sync-schema.js';

/** The backends, as `state.backend` spells them. */
export const BACKENDS = ['memory', 'file', 'valkey'] as const;

/** What belongs to some backends only. */
export const BACKEND_OPTIONS: Readonly<Record<(typeof BACKENDS)[number], readonly string[]>> = {
  memory: [],
  file: ['storage_dir', 'durability', 'encryption'],
  valkey: ['url', 'key_prefix', 'cluster', 'durability', 'timeout', 'encryption'],
};

/** The schemes of `state.url`; an `s` at the end means TLS. */
export const URL_SCHEMES = ['valkey', 'valkeys', 'redis', 'rediss'] as const;

/** The types of a service that caches can be kept on; `cache` is AgentUp's word for one. */
export const CACHE_SERVICE_TYPES = ['valkey', 'redis', 'cache'] as const;

/** A hundred years, the longest a storage takes. */
const MAX_TTL = 3_153_600_000;
const agentSchema = z.strictObject({
  name: text('What the agent is called.').default('agent'),
  description: text('What it is for.').optional(),
  version: text('Its version. In quotes, or YAML reads `1.10` as the number 1.1.').optional(),
  default_skill: text(
    'The id of the skill that answers when nothing else matches. Without it: the only skill, or the first that has neither keywords nor patterns.',
  ).optional(),
});

const skillSchema = z.strictObject({
  id: z
    .string()
    .regex(SKILL_ID)
    .describe('How the agent, the command line and other agents call the skill. Unique.')
    .register(notes, {
      code: 'SKILL_ID_INVALID',
      expects: 'an id: a lower-case letter, then lower-case letters, digits, _ and -, 64 characters at most',
    }),
  name: text('What people call it.').optional().register(notes, { absent: 'that of `@skill()`, else the id' }),
  description: text('What it does.').optional().register(notes, { absent: 'that of `@skill()`' }),
  handler: text(
    'The file of its class or function, relative to this file: `./src/skills/x.ts`. `#Export` names one export of several.',
  ),
  keywords: z
    .array(text('A word or phrase.'))
    .default([])
    .describe('Whole words that send a message here, in any case.'),
  patterns: z
    .array(text('A regular expression.'))
    .default([])
    .describe('JavaScript regular expressions that do, in any case (flags `iu`).'),
  priority: z.int().default(0).describe('Of the skills that match, the one with the highest answers.'),
  tags: z.array(text('A label.')).default([]).describe('Labels for whoever lists skills.'),
});

const serviceSchema = z.looseObject({
  type: text('What kind of service it is, for example `valkey`.'),
  config: z
    .looseObject({
      url: text('Where it is.').optional(),
      db: z.int().min(0).describe('The number of its database.').optional(),
      key_prefix: text('What every key there begins with.')
        .optional()
        .register(notes, { absent: '`agentup:cache:` for caches' }),
      cluster: z.boolean().describe('It is a cluster; `url` may name several of its nodes.').optional(),
    })
    .optional()
    .describe("How to reach it; further keys are the service's own."),
});

const stateSchema = z.strictObject({
  backend: z
    .enum(BACKENDS)
    .default('file')
    .describe('Where conversations are kept: in this process, in files, or on a Valkey server.')
    .register(notes, { code: 'BACKEND_UNKNOWN' }),
  url: text('valkey: the server, `valkey://user:password@host:port/database`; `valkeys://` for TLS.')
    .optional()
    .register(notes, { absent: 'required for valkey' }),
  cluster: z
    .boolean()
    .default(false)
    .describe(
      'valkey: the server is a cluster. `url` names one of its nodes, or several: `valkey://host1:6379,host2:6379`.',
    ),
  key_prefix: z
    .string()
    .min(1)
    // The first braces of a key decide where a cluster keeps it, and empty ones that every key lies elsewhere.
    .regex(/^[^{]*(?:\{(?!\})|$)/)
    .describe('valkey: what every key begins with, so that several agents can share a server.')
    .register(notes, { expects: 'a text without {}' })
    .optional()
    .register(notes, { absent: 'required for valkey' }),
  ttl: z
    .union([z.int().min(1).max(MAX_TTL), z.literal('none')])
    .optional()
    .describe('Seconds until a conversation that nobody writes to is forgotten. `none`: never.')
    .register(notes, {
      code: 'TTL_INVALID',
      expects: 'a whole number of seconds from 1 on, or none',
      unit: 'seconds',
      absent: '`none`',
    }),
  storage_dir: text('file: the directory, relative to this file.').default('./conversation_states'),
  durability: z
    .union([
      z.enum(['never', 'interval', 'commit']),
      z.strictObject({
        replicas: z
          .int()
          .min(1)
          .max(100)
          .describe('valkey: replicas that must have a commit before it is acknowledged.'),
      }),
    ])
    .default('interval')
    .describe(
      'file: when writes are flushed to the disk. All survive the death of the process; `commit` also that of the machine. valkey: `{ replicas: 1 }`, and what was acknowledged also survives the death of the primary.',
    )
    .register(notes, { expects: '`never`, `interval` or `commit` for files, `{ replicas: 1 }` for valkey' }),
  timeout: z
    .int()
    .min(1)
    .max(600_000)
    .default(2000)
    .describe('valkey: milliseconds until connecting or a command fails.')
    .register(notes, { unit: 'milliseconds' }),
  encryption: encryptionSchema
    .optional()
    .describe('file, valkey: encrypt values, messages and kept replies before they are stored (AES-256-GCM).')
    .register(notes, { absent: 'they are stored in clear' }),
  history: z
    .strictObject({
      load: z
        .int()
        .min(0)
        .default(20)
        .describe('Newest messages loaded when a turn begins; older ones are fetched when asked for.'),
      max: z
        .int()
        .min(1)
        .optional()
        .describe('Newest messages kept; older ones are dropped and counted.')
        .register(notes, { absent: 'all are kept' }),
    })
    .prefault({})
    .describe('How much of the history is loaded and kept.'),
  concurrency: z
    .enum(['serial', 'parallel'])
    .default('serial')
    .describe('`serial`: turns of one conversation wait for each other. `parallel`: they do not; their changes merge.'),
  on_unavailable: z
    .enum(['fail', 'degrade'])
    .default('fail')
    .describe('When the storage is down: fail, or go on with an empty memory that is not kept.'),
  dedupe: z
    .int()
    .min(0)
    .max(10_000)
    .default(32)
    .describe(
      'Newest messages of a conversation whose replies are kept: a message that is delivered again is answered with the reply of then, and not handled twice. 0: none.',
    ),
  lease: seconds('Seconds after which the turn of a process that died no longer blocks its conversation.').default(30),
  wait: seconds('Seconds a turn waits for the turns before it.').default(30),
  queue: z
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe('Most turns of one conversation that run or wait in one process; more are refused.'),
});

const cachesSchema = z.strictObject({
  service: text('The name of the service in `services` that they are kept on: one of type `valkey`.')
    .optional()
    .register(notes, { absent: 'they lie beside the conversations' }),
  timeout: z
    .int()
    .min(1)
    .max(600_000)
    .default(2000)
    .describe('Milliseconds until connecting to the service or a command there fails.')
    .register(notes, { unit: 'milliseconds' }),
  warn_bytes: z.int().min(1).default(65_536).describe('Entries of more bytes than this are warned of in the log.'),
});

/** The one description of `agent_config.yaml`: types, defaults, JSON Schema and reference all come from it. */
export const configSchema = z.strictObject({
  agent: agentSchema.prefault({}).describe('Who the agent is.'),
  skills: z.array(skillSchema).default([]).describe('What it can do.'),
  services: z
    .record(z.string().min(1), serviceSchema)
    .default({})
    .describe('Servers that skills and caches use, by name. Never stands in for `state.url`.'),
  state: stateSchema.prefault({}).describe('Where conversations are kept.'),
  caches: cachesSchema.prefault({}).describe('Where `context.caches` are kept.'),
  server: serverSchema.prefault({}).describe('How `agentup run` serves the agent.'),
  security: securitySchema.prefault({}).describe('Who may talk to the agent over the network.'),
  conversations: conversationsSchema
    .prefault({})
    .describe('The conversation API: other programs read and write the conversations.'),
  sync: syncSchema.optional().describe('The remote conversation API that `createSync(agent)` keeps up to date.'),
});

/** A configuration with its defaults. Keys are spelled as in the file. */
export type AgentConfig = z.output<typeof configSchema>;
/** A configuration as it is written, without defaults. */
export type AgentConfigInput = z.input<typeof configSchema>;
export type SkillConfig = AgentConfig['skills'][number];
export type SkillConfigInput = z.input<typeof skillSchema>;
export type StateConfig = AgentConfig['state'];
export type CachesConfig = Pick<AgentConfig, 'caches' | 'services'>;
export type ServerConfig = AgentConfig['server'];
export type ConversationsConfig = AgentConfig['conversations'];
export type SecurityConfig = AgentConfig['security'];
export type StateConfigInput = z.input<typeof stateSchema>;

export { skillSchema, stateSchema };
