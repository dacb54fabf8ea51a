import type { z } from 'zod';
import {
  contextBody,
  conversationLookup,
  conversationPage,
  conversationResource,
  createBody,
  emptyBody,
  extendBody,
  intentBody,
  listQuery,
  messagesBody,
  orderBody,
  phoneParam,
  placeQuery,
  sessionId,
  syncBody,
  tenantLookup,
  userId,
} from './schemas.js';

/** Where the API is mounted. */
export const API_PATH = '/api/v1';

/** One call of the API: what it takes, what it answers. Routes, validation and the OpenAPI document are made of it. */
export interface Operation {
  readonly id: string;
  readonly method: 'get' | 'post' | 'patch' | 'put';
  /** Below `API_PATH`, parameters as `:name`. */
  readonly path: string;
  readonly summary: string;
  readonly params: Readonly<Record<string, z.ZodType>>;
  readonly query: z.ZodObject;
  /** `undefined`: it takes none. */
  readonly body: z.ZodType | undefined;
  readonly response: z.ZodType;
  /** It changes something: it takes an `Idempotency-Key` and `If-Match`. */
  readonly writes: boolean;
}

const ofSession = { sessionId };

const read = (id: string, path: string, summary: string, more: Partial<Operation> = {}): Operation => ({
  id,
  method: 'get',
  path,
  summary,
  params: ofSession,
  query: placeQuery,
  body: undefined,
  response: conversationResource,
  writes: false,
  ...more,
});

const write = (
  id: string,
  method: 'post' | 'patch' | 'put',
  path: string,
  summary: string,
  body: z.ZodType,
  more: Partial<Operation> = {},
): Operation => ({ ...read(id, path, summary), method, body, writes: true, ...more });

/** Every call. */
export const OPERATIONS = {
  create: write(
    'createConversation',
    'post',
    '/conversations',
    "The user's active conversation, made where there is none.",
    createBody,
    { params: {} },
  ),
  list: read('listConversations', '/conversations', 'The active conversations of a tenant, by page.', {
    params: {},
    query: listQuery,
    response: conversationPage,
  }),
  ofUser: read('getConversationOfUser', '/conversations/user/:userId', "The user's active conversation.", {
    params: { userId },
  }),
  get: read('getConversation', '/conversations/:sessionId', 'A conversation.'),
  intent: write(
    'setIntent',
    'patch',
    '/conversations/:sessionId/intent',
    'What it is about, and where in it.',
    intentBody,
  ),
  context: write(
    'mergeContext',
    'patch',
    '/conversations/:sessionId/context',
    'Merges entries into the context.',
    contextBody,
  ),
  messages: write('addMessages', 'post', '/conversations/:sessionId/messages', 'Adds messages.', messagesBody),
  orders: write('linkOrder', 'post', '/conversations/:sessionId/orders', 'Links an order.', orderBody),
  reset: write(
    'resetConversation',
    'post',
    '/conversations/:sessionId/reset',
    'Clears context, messages, intent and order.',
    emptyBody,
  ),
  extend: write(
    'extendConversation',
    'post',
    '/conversations/:sessionId/extend',
    'Renews when it expires.',
    extendBody,
  ),
  end: write('endConversation', 'post', '/conversations/:sessionId/end', 'Ends it.', emptyBody),
  sync: write(
    'syncConversation',
    'put',
    '/conversations/:sessionId/sync',
    'Intent, step, context, metadata, messages and order, all or nothing.',
    syncBody,
  ),
  tenantOfPhone: read('lookupTenant', '/whatsapp/lookup/tenant/:phone', 'The tenant of a telephone number.', {
    params: { phone: phoneParam },
    response: tenantLookup,
  }),
  conversationOfPhone: read(
    'lookupConversation',
    '/whatsapp/lookup/conversation/:phone',
    'The active conversation of a telephone number.',
    {
      params: { phone: phoneParam },
      response: conversationLookup,
    },
  ),
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof OPERATIONS;
