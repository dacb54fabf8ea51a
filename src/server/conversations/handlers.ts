import type { z } from 'zod';
import type { ConversationsConfig } from '../../config/index.js';
import type { OPERATIONS, OperationName } from '../../conversation-api/operations.js';
import type {
  contextBody,
  createBody,
  extendBody,
  intentBody,
  listQuery,
  messageInput,
  messagesBody,
  orderBody,
  placeQuery,
  syncBody,
} from '../../conversation-api/schemas.js';
import { sessionId as idOf } from '../../conversation-api/schemas.js';
import { ApiError, notFound } from './api-error.js';
import { beginForUser } from './begin-for-user.js';
import { type Edit, intentChanges, mergeChanges, messageChanges, orderEdit, resetEdit, syncEdit } from './changes.js';
import type { ConversationService, Found, WriteGuards } from './conversation-service.js';
import { etagOf, FIELDS, resourceOf, VARIABLE } from './resource.js';
import { maySee, type ServiceKey } from './service-keys.js';

/** A request that has been checked. */
export interface ApiCall {
  readonly key: ServiceKey;
  readonly params: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
  readonly guards: WriteGuards;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly etag?: string;
  readonly replayed?: boolean;
}

type Handler = (call: ApiCall) => Promise<ApiAnswer>;

/** What each operation does. */
export function handlersOf(
  service: ConversationService,
  { numbers }: Pick<ConversationsConfig, 'numbers'>,
): Record<OperationName, Handler> {
  const written = async (call: ApiCall, edit: (found: Found, call: ApiCall) => Edit): Promise<ApiAnswer> => {
    const { messages } = call.query as z.output<typeof placeQuery>;
    const found = await find(service, call);
    const { key, record, replayed } = await service.write(
      found,
      call.guards,
      (current) => edit({ key: found.key, record: current }, call),
      messages,
    );
    return { ...shown({ key, record }), replayed };
  };

  return {
    create: async ({ key, body, query, guards }) => {
      const wanted = body as z.output<typeof createBody>;
      owe(maySee(key, wanted.subDomain), () => new ApiError(403, 'FORBIDDEN', 'This key is not for that subDomain.'));
      if (guards.ifMatch !== undefined) throw new ApiError(412, 'CONFLICT', 'There is nothing to match yet.');
      const { messages } = query as z.output<typeof placeQuery>;
      const { created, replayed, ...found } = await beginForUser(service, wanted, guards, messages);
      return { ...shown(found), status: created ? 201 : 200, replayed };
    },
    list: async ({ key, query }) => {
      const { subDomain, limit, cursor } = query as z.output<typeof listQuery>;
      owe(maySee(key, subDomain), () => new ApiError(403, 'FORBIDDEN', 'This key is not for that subDomain.'));
      const { found, next } = await service.list(subDomain, { limit, after: afterOf(cursor), messages: 0 });
      const conversations = found.map((one) => resourceOf(one.key, one.record));
      return { status: 200, body: { conversations, nextCursor: next === undefined ? null : cursorOf(next) } };
    },
    ofUser: async ({ key, params, query }) => {
      const { subDomain, messages } = query as z.output<typeof placeQuery>;
      for (const candidate of candidates(key, subDomain)) {
        const found = await service.ofUser(candidate, params['userId'] ?? '', messages);
        if (found) return shown(found);
      }
      throw notFound();
    },
    get: async (call) => shown(await find(service, call)),
    intent: (call) => written(call, (_, { body }) => ({ changes: intentChanges(body as z.output<typeof intentBody>) })),
    context: (call) =>
      written(call, (_, { body }) => ({
        changes: [...mergeChanges(VARIABLE, (body as z.output<typeof contextBody>).context), { op: 'touch' }],
      })),
    messages: (call) =>
      written(call, (_, { body }) => ({
        changes: messageChanges(listOf(body as z.output<typeof messagesBody>), service.clock),
      })),
    orders: (call) =>
      written(call, ({ record }, { body }) => orderEdit((body as z.output<typeof orderBody>).orderId, record)),
    reset: (call) => written(call, ({ record }) => resetEdit(record)),
    extend: async (call) => {
      const { messages } = call.query as z.output<typeof placeQuery>;
      const { seconds } = call.body as z.output<typeof extendBody>;
      const { replayed, ...found } = await service.extend(await find(service, call), call.guards, seconds, messages);
      return { ...shown(found), replayed };
    },
    end: async (call) => {
      const found = await find(service, call);
      // Ended it is, whoever asked first.
      if (found.record.fields.has(FIELDS.endedAt) && call.guards.ifMatch === undefined) return shown(found);
      const { messages } = call.query as z.output<typeof placeQuery>;
      const { replayed, ...ended } = await service.end(found, call.guards, messages);
      return { ...shown(ended), replayed };
    },
    sync: (call) =>
      written(call, ({ record }, { body }) => syncEdit(body as z.output<typeof syncBody>, record, service.clock)),
    tenantOfPhone: async ({ key, params, query }) => {
      const { subDomain } = query as z.output<typeof placeQuery>;
      const phone = normalized(params['phone'] ?? '');
      const business = numbers.find((one) => normalized(one.phone) === phone && maySee(key, one.sub_domain));
      if (business) return { status: 200, body: { phone, subDomain: business.sub_domain } };
      const found = await newestOf(service, key, phone, subDomain);
      return { status: 200, body: { phone, subDomain: found.key.scope[0] } };
    },
    conversationOfPhone: async ({ key, params, query }) => {
      const { subDomain, messages } = query as z.output<typeof placeQuery>;
      const phone = normalized(params['phone'] ?? '');
      const found = await newestOf(service, key, phone, subDomain, messages);
      return {
        status: 200,
        body: { phone, conversation: resourceOf(found.key, found.record) },
        etag: etagOf(found.record),
      };
    },
  } satisfies Record<keyof typeof OPERATIONS, Handler>;
}

function shown({ key, record }: Found): ApiAnswer {
  return { status: 200, body: resourceOf(key, record), etag: etagOf(record) };
}

async function find(service: ConversationService, { key, params, query }: ApiCall): Promise<Found> {
  const { subDomain, messages } = query as z.output<typeof placeQuery>;
  for (const candidate of candidates(key, subDomain)) {
    try {
      return await service.get(candidate, params['sessionId'] ?? '', messages);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'NOT_FOUND') throw error;
    }
  }
  throw notFound();
}

/** Where a key may look. What it may not see is not there. */
function candidates(key: ServiceKey, subDomain: string | undefined): readonly string[] {
  if (subDomain !== undefined) return maySee(key, subDomain) ? [subDomain] : [];
  owe(
    !key.subDomains.includes('*'),
    () =>
      new ApiError(422, 'INVALID', 'This key is for every subDomain: say which.', [
        { path: 'query.subDomain', message: 'must be given' },
      ]),
  );
  return key.subDomains;
}

/** The conversation of a telephone number that was written to last, under its forms with and without the plus. */
async function newestOf(
  service: ConversationService,
  key: ServiceKey,
  phone: string,
  subDomain?: string,
  messages = 0,
): Promise<Found> {
  let newest: Found | undefined;
  for (const candidate of candidates(key, subDomain)) {
    for (const form of [phone, phone.slice(1)]) {
      const found = await service.ofUser(candidate, form, messages);
      if (found && (!newest || found.record.updatedAt > newest.record.updatedAt)) newest = found;
    }
  }
  if (newest) return newest;
  throw notFound();
}

function normalized(phone: string): string {
  return phone.startsWith('+') ? phone : `+${phone}`;
}

function listOf(body: z.output<typeof messagesBody>): z.output<typeof messageInput>[] {
  return 'messages' in body ? body.messages : [body];
}

function cursorOf(sessionId: string): string {
  return Buffer.from(sessionId).toString('base64url');
}

function afterOf(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  const sessionId = Buffer.from(cursor, 'base64url').toString();
  const isOurs = cursorOf(sessionId) === cursor && idOf.safeParse(sessionId).success;
  owe(
    isOurs,
    () =>
      new ApiError(422, 'INVALID', 'The request is not valid.', [
        { path: 'query.cursor', message: 'must be the nextCursor of a page before' },
      ]),
  );
  return sessionId;
}

function owe(condition: boolean, error: () => ApiError): void {
  if (!condition) throw error();
}
