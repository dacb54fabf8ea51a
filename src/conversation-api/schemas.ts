import { z } from 'zod';

/** Longest texts that name something. */
const NAME = 200;
const name = (description: string): z.ZodString => z.string().min(1).max(NAME).describe(description);

export const INTENTS = ['menu', 'order', 'delivery', 'payment', 'support', 'greeting', 'other'] as const;

/** What the API keeps as metadata of a conversation under its own names; nobody else's entry may be called so. */
export const RESERVED_METADATA = [
  'currentIntent',
  'currentStep',
  'currentOrderId',
  'orderHistory',
  'lastUserMessage',
  'localId',
  'botId',
  'endedAt',
] as const;

const phone = z
  .string()
  .regex(/^\+?[1-9]\d{6,14}$/)
  .describe('A telephone number in E.164: `+51999888777`. The plus may be left out.');

const anyJson = z.unknown().describe('Any JSON value.');

/** As long as any id of a conversation may be. */
const ID = 1024;
export const sessionId = z.string().min(1).max(ID).describe('The id of the conversation.');
export const subDomain = name('The tenant: the business that the conversation is with.');
export const userId = name('The user: for WhatsApp their telephone number.');
/** Any text of the customer's, or something structured. */
const intent = z
  .string()
  .min(1)
  .max(NAME)
  .describe(`What the conversation is about: ${INTENTS.join(', ')}, or a word of your own.`);
const step = z.string().max(NAME).nullable().describe('Where in it the conversation is; `null`: nowhere.');

/** Known entries have a shape; others may be anything. */
const context = z
  .looseObject({
    selectedItems: z.array(z.unknown()).nullable().optional().describe('What is in the cart.'),
    orderTotal: z.number().nullable().optional().describe('What it costs.'),
    deliveryAddress: z.unknown().optional().describe('Where it goes.'),
    paymentMethod: z.string().max(NAME).nullable().optional().describe('How it is paid.'),
    customerName: z.string().max(NAME).nullable().optional().describe('Who the customer is.'),
  })
  .refine((value) => !('previousMessages' in value), {
    path: ['previousMessages'],
    message: 'messages are added by POST …/messages',
  })
  .describe('Entries to merge into the context: each replaces the one of its name, `null` removes it.');

const metadata = z
  .record(z.string().min(1).max(NAME), anyJson)
  .refine((value) => !RESERVED_METADATA.some((reserved) => reserved in value), {
    message: `these names are the API's own: ${RESERVED_METADATA.join(', ')}`,
  })
  .describe('Entries to merge into the metadata; `null` removes one.');

export const messageInput = z
  .strictObject({
    role: z
      .enum(['user', 'assistant', 'system', 'tool', 'agent', 'bot'])
      .describe('Who said it. `agent` and `bot` mean `assistant`.'),
    content: z.union([z.string(), z.record(z.string(), z.unknown()), z.array(z.unknown())]).describe('What was said.'),
    timestamp: z.iso.datetime({ offset: true }).optional().describe('When. Default: now.'),
    metadata: z.record(z.string(), anyJson).optional().describe('Anything about the message.'),
  })
  .describe('A message.');

const MESSAGES = 500;
const messages = z.array(messageInput).min(1).max(MESSAGES);

export const createBody = z.strictObject({
  subDomain,
  userId,
  localId: name('What the caller calls it.').optional(),
  botId: name('Which bot talks.').optional(),
});
export const intentBody = z
  .strictObject({ currentIntent: intent.optional(), currentStep: step.optional() })
  .refine((value) => Object.keys(value).length > 0, { message: 'currentIntent or currentStep must be given' });
export const contextBody = z.strictObject({ context });
export const messagesBody = z.union([z.strictObject({ messages }), messageInput]).describe('One message, or several.');
export const orderBody = z.strictObject({ orderId: name('The order.') });
export const extendBody = z.strictObject({
  seconds: z.int().min(1).max(3_153_600_000).optional().describe('Until it expires. Default: as long as at first.'),
});
export const emptyBody = z.strictObject({});
export const syncBody = z.strictObject({
  currentIntent: intent.optional(),
  currentStep: step.optional(),
  context: context.optional(),
  metadata: metadata.optional(),
  messages: z.array(messageInput).max(MESSAGES).optional(),
  currentOrderId: name('An order to link.').optional(),
});

export const listQuery = z.strictObject({
  subDomain,
  active: z.enum(['true']).optional().describe('Only those that have not ended. There are no others to list yet.'),
  limit: z.coerce.number().int().min(1).max(200).default(50).describe('How many.'),
  // An id in UTF-8, three bytes a character at most, in base64.
  cursor: z
    .string()
    .max(ID * 4)
    .optional()
    .describe('`nextCursor` of the page before.'),
});
export const placeQuery = z.strictObject({
  subDomain: subDomain.optional().describe('Owed where the key may use several.'),
  messages: z.coerce.number().int().min(0).max(1_000).default(50).describe('Newest messages to bring.'),
});
export const phoneParam = phone;

const message = z.object({
  role: z.enum(['user', 'assistant', 'system', 'tool']),
  content: anyJson,
  timestamp: z.iso.datetime(),
  metadata: z.record(z.string(), anyJson).optional(),
});

/** A conversation as the API shows it. */
export const conversationResource = z.object({
  sessionId,
  subDomain,
  userId: userId.optional(),
  localId: z.string().optional(),
  botId: z.string().optional(),
  isActive: z.boolean().describe('It has not ended.'),
  currentIntent: z.string().optional(),
  currentStep: z.string().nullable().optional(),
  context: z
    .looseObject({ previousMessages: z.array(message).describe('The newest messages, oldest first.') })
    .describe('The variables of the conversation.'),
  messageCount: z.int().describe('Messages ever added.'),
  lastUserMessage: z.unknown().optional(),
  currentOrderId: z.string().optional(),
  orderHistory: z.array(z.string()),
  metadata: z.record(z.string(), anyJson),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().optional(),
  endedAt: z.iso.datetime().optional(),
});

export const conversationPage = z.object({
  conversations: z.array(conversationResource),
  nextCursor: z.string().nullable(),
});
export const tenantLookup = z.object({ phone: z.string(), subDomain });
export const conversationLookup = z.object({ phone: z.string(), conversation: conversationResource });

/** An error (RFC 9457). */
export const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string().describe('What happened, by name: tell errors apart by this.'),
  errors: z
    .array(z.object({ path: z.string(), message: z.string() }))
    .optional()
    .describe('What is wrong with the request.'),
});

export type CreateInput = z.input<typeof createBody>;
export type IntentInput = z.input<typeof intentBody>;
export type ContextInput = z.input<typeof contextBody>['context'];
export type MessageInput = z.input<typeof messageInput>;
export type SyncInput = z.input<typeof syncBody>;
export type ConversationResource = z.output<typeof conversationResource>;
export type ConversationPage = z.output<typeof conversationPage>;
export type TenantLookup = z.output<typeof tenantLookup>;
export type ConversationLookup = z.output<typeof conversationLookup>;
export type ApiProblem = z.output<typeof problem>;
