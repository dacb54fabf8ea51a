import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response } from 'express';
import { describe, expect, it, vi } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { createAgentServer } from '../../src/server/agent-server.js';
import { inOrder } from '../../src/server/layers.js';
import { withState } from '../../src/skill/with-state.js';
import { serve } from './serving.js';
import { closeGate, shared } from './skills.js';

interface Asked {
  readonly method?: string;
  readonly headers?: Record<string, string | number>;
  /** Sent one by one, each when the one before has gone. */
  readonly body?: readonly (string | Buffer)[];
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

const JSON_TYPE = { 'Content-Type': 'application/json' };

/** As `fetch` cannot: any path, any headers, a body in pieces. */
async function ask(port: string, path: string, { method = 'POST', headers = {}, body = [] }: Asked): Promise<Answer> {
  const sent = httpRequest({ host: '127.0.0.1', port, path, method, headers: { 'A2A-Version': '1.0', ...headers } });
  for (const piece of body) await new Promise((resolve) => sent.write(piece, resolve));
  sent.end();
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  const text = (await answer.setEncoding('utf8').toArray()).join('');
  return { status: answer.statusCode, headers: answer.headers, text };
}

const messageOf = (text: string): string =>
  JSON.stringify({ message: { messageId: crypto.randomUUID(), role: 'ROLE_USER', parts: [{ text }] } });
const callOf = (text: string): string => `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":${messageOf(text)}}`;
const sized = (body: string | Buffer, more: Record<string, string> = {}): Asked => ({
  headers: { ...JSON_TYPE, 'Content-Length': Buffer.byteLength(body), ...more },
  body: [body],
});

describe('handlers in order', () => {
  /** What each is called with, until one keeps the request. */
  const passed = async (...layers: (RequestHandler | ErrorRequestHandler)[]): Promise<unknown> =>
    new Promise((resolve) => inOrder(...layers)({} as Request, {} as Response, resolve));
  const heard: unknown[] = [];
  const hear: RequestHandler = (_request, _response, next) => {
    heard.push('request');
    next();
  };
  const hearError: ErrorRequestHandler = (error, _request, _response, next) => {
    heard.push(error);
    next();
  };

  it('pass an error on to those for errors, thrown, rejected or told, and are as before when it is dealt with', async () => {
    const wrong = new Error('wrong');
    const failing: RequestHandler[] = [
      (_request, _response, next) => next(wrong),
      () => {
        throw wrong;
      },
      async () => {
        throw wrong;
      },
    ];
    for (const fail of failing) {
      heard.length = 0;
      expect(await passed(hear, hearError, fail, hear)).toBe(wrong);
      expect(await passed(fail, hear, hearError, hear)).toBeUndefined();
      expect(heard).toEqual(['request', wrong, 'request']);
    }
  });

  it('do not go on where one fails without a word', async () => {
    heard.length = 0;
    expect(await passed(() => Promise.reject(), hear)).toBeInstanceOf(Error);
    expect(heard).toEqual([]);
  });
});

describe('a transport', () => {
  it('is found however its path is written, and answers nothing else', async () => {
    await using serving = await serve();
    const call = (path: string, asked: Asked = sized(callOf('count'))) => ask(serving.port, path, asked);
    const origin = `http://127.0.0.1:${serving.port}`;
    for (const path of ['', '/', '?a=b', '/?a=b'].map((end) => `/a2a/jsonrpc${end}`)) {
      expect((await call(path)).text, path).toContain('1 nobody');
    }
    for (const path of ['/A2A/JsonRpc', `${origin}/a2a/jsonrpc`]) {
      expect((await call(path)).text, path).toContain('1 nobody');
    }
    const sent = sized(messageOf('count'));
    for (const path of ['/a2a/rest/message:send', '/A2A/rest/message:send?a=b', '/a2a/rest/some/message:send']) {
      expect((await call(path, sent)).text, path).toContain('1 nobody');
    }
    for (const path of ['/a2a/jsonrpcs', '/a2a/jsonrpc/more', '/a2a/rest', '/a2a/rests/message:send', '/a2a']) {
      const { status, headers, text } = await call(path);
      expect([status, headers['content-type']], path).toEqual([404, 'application/problem+json; charset=utf-8']);
      expect(JSON.parse(text), path).toMatchObject({ code: 'NOT_FOUND' });
      expect(text, 'whoever opens it in a browser sees where to look').toContain('/.well-known/agent-card.json');
    }
    expect(serving.logged.filter((line) => line.includes('failed'))).toEqual([]);
  });

  it('answers alike with express and without, whatever is asked', async () => {
    await using serving = await serve({ security: { context_ids: 'client' } });
    const rpc = (method: unknown, params?: unknown, more: object = {}) =>
      JSON.stringify({ jsonrpc: '2.0', id: 7, method, params, ...more });
    const message = (fields: object) => ({
      message: { messageId: 'm', contextId: 'one', role: 'ROLE_USER', parts: [{ text: 'count' }], ...fields },
    });
    const asked: Record<string, Asked> = {
      message: sized(rpc('SendMessage', message({}))),
      'message for nobody there': sized(rpc('SendMessage', message({ taskId: 'none' }))),
      'id with a NUL': sized(rpc('SendMessage', message({ contextId: 'a\0b' }))),
      'failing handler': sized(
        rpc('SendMessage', message({ messageId: 'f', contextId: 'f', parts: [{ text: 'boom' }] })),
      ),
      'too many parts': sized(rpc('SendMessage', message({ parts: Array(200).fill({ text: 'x' }) }))),
      'parts of another shape': sized(rpc('SendMessage', message({ parts: null }))),
      'a part that is none': sized(rpc('SendMessage', message({ parts: [null] }))),
      'no parameters': sized(rpc('SendMessage')),
      'parameters of another kind': sized(rpc('SendMessage', [1])),
      'no message': sized(rpc('SendMessage', {})),
      'tenant in the envelope': sized(rpc('SendMessage', { ...message({ contextId: 'two' }), tenant: 'acme' })),
      'unknown task': sized(rpc('GetTask', { id: 'none' })),
      'list of tasks': sized(rpc('ListTasks', { contextId: 'none' })),
      'method of no kind': sized(rpc(3)),
      'unknown method': sized(rpc('Dance', {})),
      'method of before': sized(rpc('message/send', message({}))),
      'id of no kind': sized(rpc('GetTask', { id: 'x' }, { id: {} })),
      'another JSON-RPC': sized(rpc('GetTask', { id: 'x' }, { jsonrpc: '1.0' })),
      'no object': sized('"SendMessage"'),
      nothing: sized('null'),
      batch: sized(`[${rpc('GetTask', { id: 'x' })}]`),
      'unreadable text': sized('{'),
      'another type': sized(rpc('GetTask', { id: 'x' }), { 'Content-Type': 'text/plain' }),
      'a type of the other transport': sized(rpc('GetTask', { id: 'x' }), { 'Content-Type': 'application/a2a+json' }),
      'an extension': sized(rpc('SendMessage', message({})), { 'A2A-Extensions': 'urn:some' }),
      'an old version': sized(rpc('message/send', message({})), { 'A2A-Version': '0.3' }),
      'an unknown version': sized(rpc('SendMessage', message({})), { 'A2A-Version': '9.9' }),
      'another host': sized(rpc('GetTask', { id: 'x' }), { Host: 'evil.example' }),
    };
    const shown = ({ status, headers, text }: Answer) => {
      const told = text.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'uuid').replace(/\d{4}-[\d:.TZ-]+/g, 'moment');
      const { 'content-type': type, connection } = headers;
      return { status, type, connection, told };
    };
    for (const [name, one] of Object.entries(asked)) {
      const plain = shown(await ask(serving.port, '/a2a/jsonrpc', one));
      const inExpress = shown(await ask(serving.port, '/a2a/jsonrpc?', one));
      expect(plain, name).toEqual(inExpress);
    }
    expect((await ask(serving.port, '/a2a/jsonrpc', asked['message'] as Asked)).text).toContain('1 nobody');
  });

  it('refuses a message that no handler can be given, whatever it came by', async () => {
    await using serving = await serve();
    const fields = { messageId: 'm', role: 'ROLE_USER', parts: [{ text: 'hang' }] };
    const messages: Record<string, object> = {
      'null as data': { ...fields, parts: [{ text: 'hang' }, { data: null }] },
      'a part of nothing': { ...fields, parts: [{}, { text: 'hang' }] },
      'an id that no key holds': { ...fields, messageId: '\ud800' },
    };
    const text = { kind: 'text', text: 'hang' };
    const before = { kind: 'message', messageId: 'm', role: 'user', parts: [text] };
    const messagesOfBefore: Record<string, object> = {
      'null as data': { ...before, parts: [text, { kind: 'data', data: null }] },
      'a part of nothing': { ...before, parts: [{ kind: 'data' }, text] },
      'an id that no key holds': { ...before, messageId: '\ud800' },
    };
    const rpc = (method: string, message: object, version: string) =>
      sized(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { message } }), { 'A2A-Version': version });
    shared.log.length = 0;
    const printed = vi.spyOn(console, 'error');
    for (const [name, message] of Object.entries(messages)) {
      const old = messagesOfBefore[name] as object;
      const answers = [
        await ask(serving.port, '/a2a/jsonrpc', rpc('SendMessage', message, '1.0')),
        await ask(serving.port, '/a2a/jsonrpc?', rpc('SendMessage', message, '1.0')),
        await ask(serving.port, '/a2a/jsonrpc', rpc('SendStreamingMessage', message, '1.0')),
        await ask(serving.port, '/a2a/jsonrpc', rpc('message/send', old, '0.3')),
        await ask(serving.port, '/a2a/jsonrpc', rpc('message/stream', old, '0.3')),
      ];
      for (const { text } of answers) {
        expect(JSON.parse(text).error, name).toMatchObject({
          code: -32602,
          message: expect.stringMatching(/is empty|lone surrogate/),
        });
      }
      for (const path of ['/a2a/rest/message:send', '/a2a/rest/message:stream']) {
        const { status, text } = await ask(serving.port, path, sized(JSON.stringify({ message })));
        expect([status, text], name).toEqual([400, expect.stringMatching(/is empty|lone surrogate/)]);
      }
    }
    expect(shared.log).toEqual([]);
    expect(serving.logged).toEqual([]);
    expect(printed, 'the SDK prints what a stream fails with').not.toHaveBeenCalled();
    printed.mockRestore();
  });

  it('refuses a stream for a conversation that is busy without a word on the console', async () => {
    await using serving = await serve({ state: { backend: 'memory', queue: 1 }, security: { context_ids: 'client' } });
    closeGate();
    shared.log.length = 0;
    const message = { messageId: 'm', contextId: 'one', role: 'ROLE_USER', parts: [{ text: 'hang' }] };
    const call = (method: string) => sized(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { message } }));
    const running = ask(serving.port, '/a2a/jsonrpc', call('SendMessage'));
    await expect.poll(() => shared.log).toEqual(['hang one']);
    const printed = vi.spyOn(console, 'error');
    const { text } = await ask(serving.port, '/a2a/jsonrpc', call('SendStreamingMessage'));
    expect(text).toContain('This conversation is busy. Try again later.');
    expect(printed).not.toHaveBeenCalled();
    printed.mockRestore();
    shared.open();
    expect((await running).text).toContain('let go');
  });

  it('tells of an unknown task or version who asks, and not the console', async () => {
    await using serving = await serve();
    const printed = vi.spyOn(console, 'error');
    const rpc = (method: string, params: object, version: string) =>
      ask(
        serving.port,
        '/a2a/jsonrpc',
        sized(JSON.stringify({ jsonrpc: '2.0', id: 7, method, params }), { 'A2A-Version': version }),
      );
    const message = { messageId: 'm', taskId: 'none', role: 'ROLE_USER', parts: [{ text: 'count' }] };
    const old = { ...message, kind: 'message', role: 'user', parts: [{ kind: 'text', text: 'count' }] };
    const refused = [
      await rpc('SendStreamingMessage', { message }, '1.0'),
      await rpc('SubscribeToTask', { id: 'none' }, '1.0'),
      await rpc('message/stream', { message: old }, '0.3'),
      await rpc('message/stream', { message: old }, ''),
    ];
    for (const { headers, text } of refused) {
      expect(headers['content-type']).toBe('application/json; charset=utf-8');
      expect(JSON.parse(text)).toMatchObject({ id: 7, error: { code: -32001 } });
    }
    const { headers, text } = await rpc('tasks/resubscribe', { id: 'none' }, '0.3');
    expect(headers['content-type']).toBe('text/event-stream');
    expect(text).toMatch(/^event: error\ndata: \{.*"id":7,"error":\{"code":-32001,.*\}\n\n$/);
    for (const version of ['9.9', '1', 'constructor']) {
      for (const method of ['SendMessage', 'SubscribeToTask', 'message/stream']) {
        expect(JSON.parse((await rpc(method, {}, version)).text)).toMatchObject({
          id: 7,
          error: { code: -32009, message: expect.stringContaining('1.0 and 0.3') },
        });
      }
      const { text } = await ask(serving.port, '/a2a/jsonrpc', { headers: { 'A2A-Version': version } });
      expect(JSON.parse(text)).toMatchObject({ id: null, error: { code: -32009 } });
    }
    expect(printed).not.toHaveBeenCalled();
    expect(serving.logged).toEqual([]);
    printed.mockRestore();
  });

  it('answers other methods as ever', async () => {
    await using serving = await serve();
    const as = (method: string) => ask(serving.port, '/a2a/jsonrpc', { method });
    expect(await as('GET')).toMatchObject({ status: 404, text: expect.stringContaining('NOT_FOUND') });
    expect(await as('HEAD')).toMatchObject({ status: 404, text: '' });
    expect(await as('OPTIONS')).toMatchObject({ status: 200, text: 'POST', headers: { allow: 'POST' } });
  });

  it('keeps the connection, says what the reply is and how long, and hashes only what can be asked for again', async () => {
    await using serving = await serve();
    const { headers } = await ask(serving.port, '/a2a/jsonrpc', {
      ...sized(callOf('count')),
      headers: { ...sized(callOf('count')).headers, Connection: 'keep-alive' },
    });
    expect(headers).toEqual({
      'content-type': 'application/json; charset=utf-8',
      'content-length': expect.stringMatching(/^\d+$/),
      date: expect.anything(),
      connection: 'keep-alive',
      'keep-alive': 'timeout=65',
      'ratelimit-policy': '600;w=60',
      ratelimit: 'limit=600, remaining=599, reset=60',
    });
    const sent = await ask(serving.port, '/a2a/rest/message:send', sized(messageOf('count')));
    expect(sent.headers['content-type']).toBe('application/a2a+json; charset=utf-8');
    const tasks = await ask(serving.port, '/a2a/rest/tasks', { method: 'GET' });
    expect(tasks.headers['etag']).toMatch(/^W\//);
    const again = { method: 'GET', headers: { 'If-None-Match': String(tasks.headers['etag']) } };
    expect((await ask(serving.port, '/a2a/rest/tasks', again)).status).toBe(304);
  });

  it('can be mounted: below a path, behind other handlers, whose context reaches the skill, with their JSON', async () => {
    const store = new AsyncLocalStorage<string>();
    const whoami = withState(async function whoami() {
      return `it is ${store.getStore()}`;
    });
    const agent = await createAgent({ state: { backend: 'memory' } }, { skills: [whoami] });
    await using server = await createAgentServer(agent);
    const app = express().set('json spaces', 3);
    app.use((request, _response, next) => store.run(String(request.headers['x-who']), next));
    app.use('/parsed', express.json());
    app.use('/some/agent', server.app);
    app.use('/parsed', server.app);
    const http = app.listen(0, '127.0.0.1');
    await once(http, 'listening');
    const port = String((http.address() as AddressInfo).port);
    for (const at of ['/some/agent', '/parsed']) {
      const asked = sized(callOf('x'), { 'X-Who': 'ana' });
      const chunked = { headers: { ...JSON_TYPE, 'X-Who': 'ana' }, body: [callOf('x')] };
      for (const one of [asked, chunked]) {
        const { text } = await ask(port, `${at}/a2a/jsonrpc`, one);
        expect(text).toContain('it is ana');
        expect(text).toContain('\n   "jsonrpc"');
      }
    }
    http.close();
  });
});

describe('a body', () => {
  const long = `text ${'ä€😀'.repeat(20)}`;
  const bytes = Buffer.from(callOf(long));
  const split = bytes.indexOf('€') + 1;

  it('is read however it is sent', async () => {
    const say = withState(async function say(task) {
      return task.text;
    });
    const agent = await createAgent({ state: { backend: 'memory' } }, { skills: [say] });
    await using server = await createAgentServer(agent, { port: 0 });
    await server.listen();
    const port = String(server.port);
    const utf16 = Buffer.from(callOf(long), 'utf16le');
    const bodies: Record<string, Asked> = {
      plain: sized(bytes),
      'in pieces': { ...sized(bytes), body: [bytes.subarray(0, split), bytes.subarray(split)] },
      chunked: { headers: JSON_TYPE, body: [bytes.subarray(0, split), bytes.subarray(split)] },
      'with a byte order mark': sized(`\uFEFF${callOf(long)}`),
      'with a charset': sized(bytes, { 'Content-Type': 'Application/JSON; charset=UTF-8' }),
      'in UTF-16': sized(utf16, { 'Content-Type': 'application/json; charset=utf-16le' }),
      compressed: sized(gzipSync(bytes), { 'Content-Encoding': 'gzip' }),
    };
    for (const [name, asked] of Object.entries(bodies)) {
      const { status, text } = await ask(port, '/a2a/jsonrpc', asked);
      expect([status, text], name).toEqual([200, expect.stringContaining(long)]);
    }
  });

  it('that cannot be read is refused with the reason', async () => {
    await using serving = await serve({ server: { body_limit: 1024 } });
    const large = callOf('x'.repeat(1024));
    const refusals: [Asked, number, string][] = [
      [sized('{'), 400, 'BODY_MALFORMED'],
      [sized(large), 413, 'BODY_TOO_LARGE'],
      [{ headers: JSON_TYPE, body: [large] }, 413, 'BODY_TOO_LARGE'],
      [sized(gzipSync(large), { 'Content-Encoding': 'gzip' }), 413, 'BODY_TOO_LARGE'],
      [sized('{}', { 'Content-Encoding': 'gzip' }), 400, 'BODY_MALFORMED'],
      [sized('{}', { 'Content-Encoding': 'none' }), 415, 'BODY_MALFORMED'],
      [sized('{}', { 'Content-Type': 'application/json; charset=latin1' }), 415, 'BODY_MALFORMED'],
    ];
    for (const [asked, status, code] of refusals) {
      const answer = await ask(serving.port, '/a2a/jsonrpc', asked);
      expect([answer.status, JSON.parse(answer.text).code], JSON.stringify(asked.headers)).toEqual([status, code]);
    }
    // None at all is an empty object, which is no request of the protocol.
    for (const empty of ['', '\uFEFF']) {
      const none = await ask(serving.port, '/a2a/jsonrpc', sized(empty));
      expect([none.status, none.text]).toEqual([200, expect.stringContaining('Invalid JSON-RPC Request')]);
    }
    expect((await ask(serving.port, '/a2a/jsonrpc', sized(callOf('count')))).text).toContain('1 nobody');
    expect(serving.logged.filter((line) => line.includes('failed'))).toEqual([]);
  });

  it('that breaks off starts no turn, and a caller who is gone before the answer had one', async () => {
    await using serving = await serve();
    const { port } = serving;
    const options = { host: '127.0.0.1', port, path: '/a2a/jsonrpc', method: 'POST' };
    const send = async (asked: Asked): Promise<ClientRequest> => {
      const sent = httpRequest({ ...options, headers: { 'A2A-Version': '1.0', ...asked.headers } });
      sent.on('error', () => {});
      await new Promise((resolve) => sent.write(asked.body?.[0], resolve));
      return sent;
    };
    shared.log.length = 0;
    closeGate();
    const whole = sized(callOf('hang'));
    const broken = await send({ ...whole, body: [callOf('hang').slice(0, -1)] });
    const left = await send(whole);
    await expect.poll(() => shared.log).toHaveLength(1);
    broken.destroy();
    left.destroy();
    shared.open();
    expect((await ask(port, '/a2a/jsonrpc', sized(callOf('count')))).text).toContain('1 nobody');
    expect(shared.log).toHaveLength(1);
    expect(serving.logged.filter((line) => line.includes('failed'))).toEqual([]);
  });
});
