import { z } from 'zod';
import { API_PATH, OPERATIONS, type Operation } from '../../conversation-api/operations.js';
import {
  conversationLookup,
  conversationPage,
  conversationResource,
  problem,
  tenantLookup,
} from '../../conversation-api/schemas.js';

type Json = Record<string, unknown>;

/** Shared by several answers. */
const NAMED: readonly (readonly [string, z.ZodType])[] = [
  ['Conversation', conversationResource],
  ['ConversationPage', conversationPage],
  ['TenantLookup', tenantLookup],
  ['ConversationLookup', conversationLookup],
  ['Problem', problem],
];

/** The API as an OpenAPI 3.1 document, made from the very schemas that requests are checked with. */
export function openApi(title: string, version: string): Json {
  const paths: Record<string, Json> = {};
  for (const operation of Object.values<Operation>(OPERATIONS)) {
    const path = operation.path.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [operation.method]: described(operation) };
  }
  return {
    openapi: '3.1.0',
    info: { title: `${title}: conversations`, version },
    servers: [{ url: API_PATH }],
    security: [{ serviceKey: [] }],
    paths,
    components: {
      securitySchemes: { serviceKey: { type: 'apiKey', in: 'header', name: 'X-Service-API-Key' } },
      schemas: Object.fromEntries(NAMED.map(([name, schema]) => [name, schemaOf(schema, 'output')])),
    },
  };
}

function described({ id, summary, params, query, body, response, writes }: Operation): Json {
  const parameters = [
    ...Object.entries(params).map(([name, schema]) => parameter('path', name, schema, true)),
    ...Object.entries(query.shape).map(([name, schema]) => parameter('query', name, schema as z.ZodType)),
    ...(writes ? HEADERS : []),
  ];
  return {
    operationId: id,
    summary,
    parameters,
    ...(body && {
      requestBody: { required: true, content: { 'application/json': { schema: schemaOf(body, 'input') } } },
    }),
    responses: {
      200: { description: 'Done.', content: { 'application/json': { schema: reference(response) } } },
      ...(id === 'createConversation' && {
        201: { description: 'Made.', content: { 'application/json': { schema: reference(response) } } },
      }),
      default: {
        description: 'It was refused, or failed.',
        content: { 'application/problem+json': { schema: reference(problem) } },
      },
    },
  };
}

const HEADERS: readonly Json[] = [
  {
    in: 'header',
    name: 'Idempotency-Key',
    schema: { type: 'string', minLength: 1, maxLength: 200 },
    description: 'Names the request: sent again under it, it has no second effect.',
  },
  {
    in: 'header',
    name: 'If-Match',
    schema: { type: 'string' },
    description: 'The `ETag` of the state that the request is for; of any other it is refused.',
  },
];

function parameter(place: 'path' | 'query', name: string, schema: z.ZodType, required = isOwed(schema)): Json {
  const { description, ...rest } = schemaOf(schema, 'input') as { description?: string };
  return { in: place, name, required, ...(description !== undefined && { description }), schema: rest };
}

function isOwed(schema: z.ZodType): boolean {
  return !schema.safeParse(undefined).success;
}

function reference(schema: z.ZodType): Json {
  const named = NAMED.find(([, candidate]) => candidate === schema);
  return named ? { $ref: `#/components/schemas/${named[0]}` } : schemaOf(schema, 'output');
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...json } = z.toJSONSchema(schema, {
    io,
    target: 'draft-2020-12',
    unrepresentable: 'any',
  }) as Json;
  return json;
}
