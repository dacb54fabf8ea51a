import { Validator } from '@seriousme/openapi-schema-validator';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { OPERATIONS, type Operation } from '../../src/conversation-api/operations.js';
import { conversationPage, conversationResource, problem } from '../../src/conversation-api/schemas.js';
import { type Serving, serve } from './serving.js';

const RUNS = Number(process.env['AGENTUP_FUZZ_RUNS'] ?? 25);
const [KEY, OTHER] = ['key of north', 'key of south'];

let serving: Serving;
let session: string;
let foreign: string;

beforeAll(async () => {
  serving = await serve({
    conversations: {
      serve: true,
      api_keys: [
        { key: KEY, sub_domains: ['north'] },
        { key: OTHER, sub_domains: ['south'] },
      ],
    },
    security: { rate_limit: { requests: 0 } },
    server: { body_limit: 200_000 },
  });
  const make = async (key: string, subDomain: string): Promise<string> => {
    const { text } = await send('POST', '/conversations', JSON.stringify({ subDomain, userId: 'ana' }), key);
    return (JSON.parse(text) as { sessionId: string }).sessionId;
  };
  session = await make(KEY, 'north');
  foreign = await make(OTHER, 'south');
});

afterAll(() => serving[Symbol.asyncDispose]());

async function send(method: string, path: string, body: string | undefined, key = KEY, headers = {}) {
  const answer = await fetch(`${serving.url}/api/v1${path}`, {
    method,
    headers: { 'X-Service-API-Key': key, 'Content-Type': 'application/json', ...headers },
    ...(body !== undefined && method !== 'GET' && { body }),
  });
  return { status: answer.status, text: await answer.text(), type: answer.headers.get('content-type') ?? '' };
}

/** Something like what a body may be, seldom what it should be. */
const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.record(
    {
      subDomain: fc.constantFrom('north', 'south', '', '__proto__', 'x'.repeat(300)),
      userId: fc.oneof(fc.constantFrom('ana', '', '../ana', '\u0000', '\ud800'), fc.string()),
      currentIntent: fc.oneof(fc.string(), fc.integer(), fc.constant(null)),
      currentStep: fc.oneof(fc.string(), fc.constant(null), fc.boolean()),
      context: fc.oneof(
        fc.dictionary(
          fc.constantFrom('__proto__', 'constructor', 'a', 'previousMessages', '', 'orderTotal'),
          fc.jsonValue(),
        ),
        fc.jsonValue(),
      ),
      metadata: fc.dictionary(fc.constantFrom('endedAt', 'x', '__proto__', ''), fc.jsonValue()),
      messages: fc.oneof(
        fc.array(fc.jsonValue(), { maxLength: 3 }),
        fc.array(fc.record({ role: fc.constantFrom('user', 'x'), content: fc.string({ unit: 'binary' }) }), {
          maxLength: 3,
        }),
      ),
      orderId: fc.oneof(fc.string(), fc.integer()),
      seconds: fc.oneof(fc.integer(), fc.double(), fc.constant('1')),
      role: fc.constantFrom('user', 'bot', 'root'),
      content: fc.jsonValue(),
    },
    { requiredKeys: [] },
  ),
);
const text = fc.oneof(
  odd.map((value) => JSON.stringify(value)),
  fc.string(),
  fc.constant(undefined),
  fc.constant(`"${'x'.repeat(250_000)}"`),
);
const segment = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }),
  fc.constantFrom('..', '%00', '%2e%2e%2f', '*', '__proto__', '%', 'user', 'x'.repeat(2000)),
);
const headers = fc.record(
  {
    'Idempotency-Key': fc.constantFrom('', 'k', 'x'.repeat(300)),
    'If-Match': fc.constantFrom('*', '"x"', '', 'W/"1"'),
  },
  { requiredKeys: [] },
);

describe('any request to the conversation API', () => {
  it.each(Object.entries<Operation>(OPERATIONS))(
    '%s: fails safely, tells nothing, and leaves others alone',
    { timeout: 60_000 },
    async (_, operation) => {
      const before = (await send('GET', `/conversations/${foreign}`, undefined, OTHER)).text;
      await fc.assert(
        fc.asyncProperty(
          text,
          segment,
          fc.constantFrom('own', 'foreign', 'any'),
          headers,
          fc.string(),
          async (body, any, whose, more, query) => {
            const id = whose === 'own' ? session : whose === 'foreign' ? foreign : encode(any);
            const path = operation.path.replace(/:\w+/, id);
            const {
              status,
              text: said,
              type,
            } = await send(operation.method.toUpperCase(), `${path}?${encodeURIComponent(query)}`, body, KEY, more);
            expect(status, said).toBeLessThan(500);
            if (status >= 400) {
              expect(type).toContain('application/problem+json');
              expect(problem.parse(JSON.parse(said)).status).toBe(status);
              expect(said).not.toMatch(/node_modules|\.ts\b|\.js:|storage|key of/i);
            }
            if (whose === 'foreign' && /:sessionId/.test(operation.path)) expect(status).toBeGreaterThanOrEqual(400);
          },
        ),
        { numRuns: RUNS },
      );
      expect((await send('GET', `/conversations/${foreign}`, undefined, OTHER)).text).toBe(before);
      expect(Object.prototype).not.toHaveProperty('x');
    },
  );

  it('answers with what the document says', async () => {
    const { text: page } = await send('GET', '/conversations?subDomain=north', undefined);
    expect(() => z.strictObject(conversationPage.shape).parse(JSON.parse(page))).not.toThrow();
    const { text: one } = await send('GET', `/conversations/${session}`, undefined);
    expect(() => z.strictObject(conversationResource.shape).parse(JSON.parse(one))).not.toThrow();
  });
});

describe('/api/v1/openapi.json', () => {
  it('is a valid OpenAPI 3.1 document with every call, for whoever asks', async () => {
    const document = (await (await fetch(`${serving.url}/api/v1/openapi.json`)).json()) as {
      openapi: string;
      paths: Record<string, Record<string, { operationId: string; requestBody?: unknown }>>;
    };
    expect(await new Validator().validate(document)).toMatchObject({ valid: true });
    expect(document.openapi).toBe('3.1.0');
    const described = Object.values(document.paths).flatMap((methods) => Object.values(methods));
    expect(described.map(({ operationId }) => operationId).sort()).toEqual(
      Object.values<Operation>(OPERATIONS)
        .map(({ id }) => id)
        .sort(),
    );
    expect(JSON.stringify(document)).not.toContain('key of');
  });
});

function encode(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return 'lone';
  }
}
