import { cp } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type LinkedProject, linkedProject } from '../support/linked-project.js';

/** What the Chat Completions API accepts of messages; anything else is answered with 400, as there. */
const Message = z.discriminatedUnion('role', [
  z.strictObject({ role: z.literal(['system', 'user']), content: z.string() }),
  z.strictObject({
    role: z.literal('assistant'),
    content: z.string().nullable(),
    tool_calls: z
      .array(
        z.strictObject({
          id: z.string(),
          type: z.literal('function'),
          function: z.strictObject({ name: z.string(), arguments: z.string() }),
        }),
      )
      .min(1)
      .optional(),
  }),
  z.strictObject({ role: z.literal('tool'), content: z.string(), tool_call_id: z.string() }),
]);
const Request = z.strictObject({
  model: z.string(),
  messages: z.array(Message).min(1),
  tools: z.array(
    z.strictObject({
      type: z.literal('function'),
      function: z.strictObject({
        name: z.string().regex(/^[\w-]{1,64}$/),
        description: z.string(),
        parameters: z.looseObject({ type: z.literal('object') }),
      }),
    }),
  ),
});
type Request = z.output<typeof Request>;
type Answer = { content?: string; calls?: [name: string, args: string][] };

/** Every call has its result right behind it, as the API demands. */
function unanswered(messages: Request['messages']): string | undefined {
  for (const [index, message] of messages.entries()) {
    if (message.role !== 'assistant' || !message.tool_calls) continue;
    const results = messages.slice(index + 1, index + 1 + message.tool_calls.length);
    for (const { id } of message.tool_calls) {
      if (!results.some((result) => result.role === 'tool' && result.tool_call_id === id)) return id;
    }
  }
  return undefined;
}

let project: LinkedProject;
let server: Server;
let requests: Request[];
let keys: (string | undefined)[];
let script: (request: Request) => Answer | number;

beforeEach(async () => {
  project = await linkedProject();
  await cp('examples/model-chat', join(project.directory, 'chat'), {
    recursive: true,
    filter: (path) => !path.includes('conversation_states'),
  });
  requests = [];
  keys = [];
  let ids = 0;
  server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const send = (status: number, body: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (incoming.method !== 'POST' || incoming.url !== '/v1/chat/completions') return send(404, {});
    const parsed = Request.safeParse(JSON.parse(Buffer.concat(chunks).toString()));
    keys.push(incoming.headers.authorization);
    if (!parsed.success) return send(400, { error: { message: z.prettifyError(parsed.error) } });
    const lost = unanswered(parsed.data.messages);
    if (lost !== undefined) return send(400, { error: { message: `no result for ${lost}` } });
    requests.push(parsed.data);
    const answer = script(parsed.data);
    if (typeof answer === 'number') return send(answer, { error: { message: 'try again later' } });
    const { content = null, calls } = answer;
    return send(200, {
      id: 'chatcmpl-1',
      object: 'chat.completion',
      choices: [
        {
          index: 0,
          finish_reason: calls ? 'tool_calls' : 'stop',
          message: {
            role: 'assistant',
            content,
            ...(calls && {
              tool_calls: calls.map(([name, args]) => ({
                id: `call_${++ids}`,
                type: 'function',
                function: { name, arguments: args },
              })),
            }),
          },
        },
      ],
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await project.remove();
});

const run = () =>
  project.compiled('chat/main.ts', {
    env: {
      MODEL_BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`,
      MODEL_API_KEY: 'sk-test',
      MODEL_NAME: 'small',
    },
  });
const last = ({ messages }: Request) => messages.at(-1) as Request['messages'][number];

describe('the model chat, with a server that speaks the wire format', () => {
  it('sends tools and history, calls what the model asks for, and tells it what came of that', async () => {
    script = (request) => {
      const message = last(request);
      if (message.role === 'tool') return { content: `done: ${message.content}` };
      if (message.content === 'I love Lisbon') return { calls: [['remember_city', '{"city":"Lisbon"}']] };
      if (message.content?.startsWith('How')) {
        return {
          content: 'I look.',
          calls: [
            ['get_weather', '{"city":"Lisbon"}'],
            ['fly', '{}'],
            ['get_weather', '{oops'],
          ],
        };
      }
      return { content: request.messages[0]?.content ?? '' };
    };
    const { code, stdout, stderr } = await run();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('agent  done: {"remembered":"Lisbon"}');
    expect(stdout).toContain('Cities that the user loves: Lisbon.');
    expect(stdout).toContain('knows  ["Lisbon"]');
    expect(new Set(keys)).toEqual(new Set(['Bearer sk-test']));
    expect(requests.map(({ model }) => model)).toEqual(Array(5).fill('small'));
    expect(requests[0]?.tools.map((tool) => tool.function.name)).toEqual(['get_weather', 'remember_city']);
    expect(requests[0]?.tools[0]?.function.parameters).toMatchObject({
      properties: { city: { type: 'string', description: 'Name of the city' } },
      required: ['city'],
    });
    // Right arguments, a tool that is not there, arguments that are no JSON: the model hears of all three.
    expect(requests[3]?.messages.slice(-3).map(({ content }) => content)).toEqual([
      '{"city":"Lisbon","sky":"sunny","celsius":16}',
      'there is no tool "fly"',
      'the arguments of the tool get_weather do not fit: they are no object',
    ]);
  });

  it('goes on with the conversation in another process', async () => {
    script = (request) => ({ content: `${request.messages.length}` });
    expect((await run()).stdout).toMatch(/agent {2}2\n[\s\S]*agent {2}4\n[\s\S]*agent {2}6\n/);
    expect((await run()).stdout).toMatch(/agent {2}8\n[\s\S]*agent {2}10\n/);
  });

  it('leaves nothing of a message that the model could not answer, and does not tell the key', async () => {
    script = () => 503;
    const failed = await run();
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain('the model answered 503');
    expect(failed.stderr).not.toContain('sk-test');
    script = (request) => ({ content: `${request.messages.length}` });
    expect((await run()).stdout).toMatch(/agent {2}2\n/);
  });
});
