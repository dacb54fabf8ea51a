import { createHash } from 'node:crypto';
import { createServer, request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { createAgentServer } from '../../src/server/agent-server.js';
import { FailedLogins } from '../../src/server/auth/failed-logins.js';
import { createConversationApi } from '../../src/server/conversations/conversation-api.js';
import { withState } from '../../src/skill/with-state.js';
import { a2aClient, isTask, say, textIn } from '../support/a2a-client.js';
import { TestClock } from '../support/test-clock.js';
import { serve } from './serving.js';
import { closeGate, shared } from './skills.js';

const ANA = { 'X-API-Key': 'the key of ana' };
const BEN = { 'X-API-Key': 'the key of ben' };
const KEYS = {
  auth: 'api_key' as const,
  api_keys: [
    { key: 'the key of ana', user: 'ana', tenant: 'north' },
    { key_sha256: createHash('sha256').update('the key of ben').digest('hex'), user: 'ben', tenant: 'south' },
  ],
};
const SECRET = 'a secret of at least thirty-two characters';

let jwks: Server | undefined;

afterEach(() => {
  jwks?.close();
  jwks = undefined;
});

const status = async (url: string, headers: Record<string, string>): Promise<number> =>
  (await fetch(`${url}/a2a/jsonrpc`, { method: 'POST', headers })).status;
const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` });
const token = (claims: object, secret = SECRET, alg = 'HS256'): Promise<string> =>
  new SignJWT({ sub: 'ana', iss: 'issuer', aud: 'agent', ...claims })
    .setProtectedHeader({ alg })
    .setExpirationTime('5m')
    .sign(new TextEncoder().encode(secret));

describe('API keys', () => {
  it('let in whom they belong to, each to conversations of their own under the same id', async () => {
    await using serving = await serve({ security: KEYS });
    const [ana, ben] = [await a2aClient(serving.url, { headers: ANA }), await a2aClient(serving.url, { headers: BEN })];
    const room = { contextId: 'room' };
    expect(textIn(await say(ana, 'count', room))).toBe('1 ana');
    expect(textIn(await say(ana, 'count', room))).toBe('2 ana');
    expect(textIn(await say(ben, 'count', room))).toBe('1 ben');
    expect(textIn(await say(ana, 'count', room))).toBe('3 ana');
  });

  it('keep the tasks of one from another', async () => {
    await using serving = await serve({ security: KEYS });
    const [ana, ben] = [await a2aClient(serving.url, { headers: ANA }), await a2aClient(serving.url, { headers: BEN })];
    const asked = await say(ana, 'pizza', { contextId: 'room' });
    if (!isTask(asked)) expect.fail('no task');
    const query = { tenant: '', contextId: '', status: 0, pageToken: '', statusTimestampAfter: undefined };
    expect((await ana.listTasks(query)).tasks.map(({ id }) => id)).toEqual([asked.id]);
    expect((await ben.listTasks(query)).tasks).toEqual([]);
    const missing = { reason: 'TASK_NOT_FOUND' };
    await expect(ben.getTask({ tenant: '', id: asked.id })).rejects.toMatchObject(missing);
    await expect(ben.cancelTask({ tenant: '', id: asked.id, metadata: undefined })).rejects.toMatchObject(missing);
    await expect(say(ben, 'L', { taskId: asked.id, contextId: 'room' })).rejects.toMatchObject(missing);
  });

  it("tell of a conversation that a skill shares no more than that it is somebody else's, and other tenants nothing", async () => {
    const room = withState(
      async function room(task, context, id) {
        return `${await context.incrementVariable(id, 'n')} ${task.userId}`;
      },
      { scope: 'conversation' },
    );
    const api_keys = [...KEYS.api_keys, { key: 'the key of cid', user: 'cid', tenant: 'north' }];
    const agent = await createAgent(
      { state: { backend: 'memory' }, security: { auth: 'api_key', api_keys } },
      { skills: [room] },
    );
    await using server = await createAgentServer(agent, { port: 0 });
    const url = await server.listen();
    const [ana, ben, cid] = await Promise.all(
      ['ana', 'ben', 'cid'].map((name) => a2aClient(url, { headers: { 'X-API-Key': `the key of ${name}` } })),
    );
    if (!ana || !ben || !cid) expect.fail('no client');
    const contextId = 'room';
    expect(textIn(await say(ana, 'my secret', { contextId }))).toBe('1 ana');
    const refused = await say(cid, 'hello', { contextId });
    if (!isTask(refused)) expect.fail('no task');
    expect([textIn(refused), refused.metadata]).toEqual([
      'This conversation belongs to somebody else.',
      { code: 'CONTEXT_FORBIDDEN' },
    ]);
    expect(JSON.stringify(refused)).not.toMatch(/ana|secret/);
    expect(textIn(await say(ben, 'hello', { contextId }))).toBe('1 ben');
    expect(textIn(await say(ana, 'again', { contextId }))).toBe('2 ana');
  });

  it('make the page of one show no task of another, whosever token is used', async () => {
    await using serving = await serve({ security: KEYS });
    const [ana, ben] = [await a2aClient(serving.url, { headers: ANA }), await a2aClient(serving.url, { headers: BEN })];
    const made = async (client: typeof ana): Promise<string[]> => {
      const ids: string[] = [];
      for (let n = 0; n < 3; n++) {
        const failed = await say(client, 'boom', { contextId: 'room' });
        if (isTask(failed)) ids.unshift(failed.id);
      }
      return ids;
    };
    const bens = await made(ben);
    const anas = await made(ana);
    const query = { tenant: '', contextId: '', status: 0, statusTimestampAfter: undefined };
    const page = await ana.listTasks({ ...query, pageSize: 1, pageToken: '' });
    expect(page.tasks.map(({ id }) => id)).toEqual(anas.slice(0, 1));
    const pageToken = page.nextPageToken;
    expect((await ana.listTasks({ ...query, pageToken })).tasks.map(({ id }) => id)).toEqual(anas.slice(1));
    // To another it is a moment in time, after which his own come.
    const other = await ben.listTasks({ ...query, pageToken });
    expect([other.tasks.map(({ id }) => id), other.totalSize]).toEqual([bens, 3]);
    for (const token of ['x', Buffer.from('[1]').toString('base64url'), Buffer.from('null').toString('base64url')]) {
      await expect(ben.listTasks({ ...query, pageToken: token })).rejects.toMatchObject({ reason: 'INVALID_PARAMS' });
    }
  });

  it('bind their tenant: naming another is refused', async () => {
    await using serving = await serve({ security: KEYS });
    const ana = await a2aClient(serving.url, { headers: ANA });
    await say(ana, 'count', { contextId: 'room', tenant: 'north' });
    await expect(say(ana, 'count', { contextId: 'room', tenant: 'south' })).rejects.toMatchObject({
      message: expect.stringContaining('This tenant is not yours.'),
    });
  });

  it('bind it over HTTP+JSON just so, wherever the request names one', async () => {
    await using serving = await serve({ security: KEYS });
    const headers = { ...ANA, 'A2A-Version': '1.0', 'Content-Type': 'application/json' };
    const send = async (tenant: string, path = ''): Promise<unknown> => {
      const message = {
        messageId: `m ${tenant} ${path}`,
        contextId: 'room',
        role: 'ROLE_USER',
        parts: [{ text: 'count' }],
      };
      const body = JSON.stringify({ tenant, message });
      const answer = await fetch(`${serving.url}/a2a/rest${path}/message:send`, { method: 'POST', headers, body });
      return [answer.status, /This tenant is not yours|\d ana/.exec(await answer.text())?.[0]];
    };
    expect(await send('')).toEqual([200, '1 ana']);
    expect(await send('north')).toEqual([200, '2 ana']);
    expect(await send('south')).toEqual([403, 'This tenant is not yours']);
    expect(await send('', '/north')).toEqual([200, '3 ana']);
    expect(await send('', '/south')).toEqual([403, 'This tenant is not yours']);
    const listed = async (tenant: string) =>
      (await fetch(`${serving.url}/a2a/rest/tasks?pageSize=5&tenant=${tenant}`, { headers })).status;
    expect([await listed('north'), await listed('south')]).toEqual([200, 403]);
  });

  it('are asked of everything but the card and the health, and never shown', async () => {
    await using serving = await serve({ security: KEYS });
    expect(await status(serving.url, {})).toBe(401);
    expect(await status(serving.url, { 'X-API-Key': 'the key of an' })).toBe(401);
    // Sent twice, a header is one text, and no key.
    expect(await status(serving.url, { 'X-API-Key': 'the key of ana, the key of ana' })).toBe(401);
    expect(
      await status(serving.url, { 'X-API-Key': createHash('sha256').update('the key of ben').digest('hex') }),
    ).toBe(401);
    const refused = await fetch(`${serving.url}/a2a/rest/tasks`, { headers: { 'X-API-Key': 'nonsense' } });
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'ApiKey']);
    expect(await refused.text()).not.toContain('nonsense');
    const card = await (await fetch(`${serving.url}/.well-known/agent-card.json`)).text();
    expect(card).toContain('X-API-Key');
    expect(card).not.toContain('the key of');
    expect(serving.logged.join('\n')).not.toContain('the key of');
    for (const path of ['/healthz', '/readyz']) expect((await fetch(`${serving.url}${path}`)).status).toBe(200);
  });
});

describe('bearer tokens', () => {
  const config = {
    auth: 'bearer' as const,
    bearer: { secret: SECRET, issuer: 'issuer', audience: 'agent', tenant_claim: 'org' },
  };

  it('let in their subject, of the tenant that the configured claim names', async () => {
    await using serving = await serve({ security: config });
    const ana = await a2aClient(serving.url, { headers: bearer(await token({ org: 'north' })) });
    expect(textIn(await say(ana, 'count', { contextId: 'room' }))).toBe('1 ana');
    const elsewhere = await a2aClient(serving.url, { headers: bearer(await token({ org: 'south' })) });
    expect(textIn(await say(elsewhere, 'count', { contextId: 'room' }))).toBe('1 ana');
  });

  it('are refused when signed otherwise, expired, endless, of another issuer or audience, or without their claims', async () => {
    await using serving = await serve({ security: config });
    const good = await token({ org: 'north' });
    const [head, body, mark] = good.split('.');
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    const endless = await new SignJWT({ sub: 'ana', org: 'north', iss: 'issuer', aud: 'agent' })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(SECRET));
    for (const bad of [
      await token({ org: 'north' }, `${SECRET}!`),
      await token({ org: 'north' }, SECRET.padEnd(64, '.'), 'HS512'),
      await token({ org: 'north', iss: 'other' }),
      await token({ org: 'north', iss: undefined }),
      await token({ org: 'north', aud: 'other' }),
      await token({ org: 'north', aud: undefined }),
      await token({}),
      await token({ org: 'north', sub: '' }),
      endless,
      `${none}.${body}.`,
      `${head}.${body}.${mark?.slice(1)}`,
      '',
    ]) {
      expect(await status(serving.url, bad === '' ? {} : bearer(bad)), bad).toBe(401);
    }
    const expired = await new SignJWT({ sub: 'ana', org: 'north', iss: 'issuer', aud: 'agent' })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime(Math.floor(Date.now() / 1000) - 60)
      .sign(new TextEncoder().encode(SECRET));
    expect(await status(serving.url, bearer(expired))).toBe(401);
    expect(await status(serving.url, bearer(good))).not.toBe(401);
  });

  it('are checked with the keys of their issuer; a public key is no secret; no keys, no answer', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const key = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' };
    jwks = createServer((_request, response) => response.end(JSON.stringify({ keys: [key] })));
    await new Promise<void>((resolve) => jwks?.listen(0, '127.0.0.1', resolve));
    const jwks_url = `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/jwks.json`;
    await using serving = await serve({ security: { auth: 'bearer', bearer: { jwks_url } } });
    const signed = await new SignJWT({ sub: 'ana' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setExpirationTime('5m')
      .sign(privateKey);
    const ana = await a2aClient(serving.url, { headers: bearer(signed) });
    expect(textIn(await say(ana, 'count', { contextId: 'room' }))).toBe('1 ana');
    expect(await status(serving.url, bearer(await token({}, JSON.stringify(key))))).toBe(401);
    await using deaf = await serve({ security: { auth: 'bearer', bearer: { jwks_url: 'http://127.0.0.1:9/jwks' } } });
    expect(await status(deaf.url, bearer(signed))).toBe(503);
  });
});

describe('wrong keys', () => {
  const limited = { ...KEYS, login_limit: { failures: 3, seconds: 60 } };
  const guess = (n: number, from = '') => ({ 'X-API-Key': `guess ${n}`, ...(from && { 'X-Forwarded-For': from }) });
  const guesses = async (url: string, addresses: readonly string[]): Promise<number[]> => {
    const codes = [];
    for (const [n, address] of addresses.entries()) codes.push(await status(url, guess(n, address)));
    return codes;
  };

  it('are let in so many from one address; then it is refused for a while, with a right one that is new here too', async () => {
    await using serving = await serve({ security: limited });
    expect(await status(serving.url, BEN)).not.toBe(401);
    // Who sends none guesses nothing.
    for (let n = 0; n < 5; n++) expect(await status(serving.url, {})).toBe(401);
    // Nor is a guess right because something else was answered.
    expect((await fetch(`${serving.url}/.well-known/agent-card.json`, { headers: guess(4) })).status).toBe(200);
    expect(await guesses(serving.url, ['', '', '', '', ''])).toEqual([401, 401, 401, 429, 429]);
    const refused = await fetch(`${serving.url}/a2a/rest/tasks`, { headers: ANA });
    expect([refused.status, await refused.json()]).toMatchObject([429, { code: 'RATE_LIMITED' }]);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(50);
    expect((await fetch(`${serving.url}/.well-known/agent-card.json`)).status).toBe(200);
  });

  it('of one client lock out no other behind the same address', async () => {
    await using serving = await serve({ security: limited });
    const tasks = (headers: Record<string, string>) => fetch(`${serving.url}/a2a/rest/tasks`, { headers });
    expect((await tasks(ANA)).status).toBe(200);
    // One that is no longer right, and that nobody has taken out of a configuration.
    for (let n = 0; n < 10; n++) expect(await status(serving.url, guess(0))).toBe(401);
    expect((await tasks(BEN)).status).toBe(200);
    expect(await guesses(serving.url, ['', '', '', ''])).toEqual([401, 401, 401, 429]);
    expect([(await tasks(ANA)).status, (await tasks(BEN)).status]).toEqual([200, 200]);
  });

  it('are counted also where one connection brings many before the first is answered', async () => {
    await using serving = await serve({ security: limited });
    const one = (n: number) =>
      `POST /a2a/jsonrpc HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: guess ${n}\r\n${n < 19 ? '' : 'Connection: close\r\n'}\r\n`;
    const socket = connect(Number(serving.port), '127.0.0.1');
    socket.write(Array.from({ length: 20 }, (_, n) => one(n)).join(''));
    let answers = '';
    for await (const chunk of socket) answers += chunk;
    const codes = [...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code);
    expect(codes).toEqual(Array.from({ length: 20 }, (_, n) => (n < 3 ? '401' : '429')));
  });

  it('are counted by the address that the proxies we know of name, and by no other', async () => {
    await using bare = await serve({ security: limited });
    expect(await guesses(bare.url, ['1.1.1.1', '2.2.2.2', '3.3.3.3', '4.4.4.4'])).toEqual([401, 401, 401, 429]);
    await using behind = await serve({ security: limited, server: { proxies: 1 } });
    const spoofed = ['1.1.1.1, 9.9.9.9', '2.2.2.2, 9.9.9.9', '3.3.3.3, 9.9.9.9', '4.4.4.4, 9.9.9.9', '8.8.8.8'];
    expect(await guesses(behind.url, spoofed)).toEqual([401, 401, 401, 429, 401]);
  });

  it('of the conversation API and of tokens are counted with them', async () => {
    await using serving = await serve({
      security: { auth: 'bearer', bearer: { secret: SECRET }, login_limit: limited.login_limit },
      conversations: { serve: true, api_keys: [{ key: 'the key of a service', sub_domains: ['*'] }] },
    });
    const service = `${serving.url}/api/v1/conversations`;
    const codes = [];
    for (let n = 0; n < 2; n++) {
      codes.push((await fetch(service, { headers: { 'X-Service-API-Key': `guess ${n}` } })).status);
      codes.push(await status(serving.url, bearer('a.b.c')));
    }
    codes.push((await fetch(service, { headers: { 'X-Service-API-Key': 'the key of a service' } })).status);
    expect(codes).toEqual([401, 401, 401, 429, 429]);
  });

  it('of the conversation API on a server of its own are counted as well', async () => {
    const config = { conversations: { api_keys: [{ key: 'the key of a service', sub_domains: ['*'] }] } };
    const agent = await createAgent({ ...config, state: { backend: 'memory' }, security: limited });
    const server = createServer(createConversationApi(agent));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const codes = [];
    for (let n = 0; n < 4; n++) {
      const headers = { 'X-Service-API-Key': `guess ${n}` };
      codes.push((await fetch(`http://127.0.0.1:${port}/api/v1/conversations`, { headers })).status);
    }
    expect(codes).toEqual([401, 401, 401, 429]);
    server.closeAllConnections();
    server.close();
    await agent.close();
  });

  it('are forgotten when their time is over, and when too many addresses send some', () => {
    const clock = new TestClock();
    const logins = new FailedLogins({ failures: 1, seconds: 60 }, clock);
    const refused = (address: string): number => logins.refusedFor(address, 'a key');
    logins.add('1.1.1.1', 'guess', false);
    expect(refused('1.1.1.1')).toBe(60_000);
    clock.advance(60_000);
    expect(refused('1.1.1.1')).toBe(0);
    logins.add('1.1.1.1', 'guess', false);
    for (let n = 0; n < 9_999; n++) logins.add(`address ${n}`, 'guess', false);
    expect(refused('1.1.1.1')).toBe(60_000);
    logins.add('address 9999', 'guess', false);
    expect([refused('1.1.1.1'), refused('address 0')]).toEqual([0, 60_000]);
  });

  it('are wrong also where they were right before; of the right ones the last 10,000 are known', () => {
    const logins = new FailedLogins({ failures: 1, seconds: 60 }, new TestClock());
    logins.add('1.1.1.1', 'guess', false);
    const isRefused = (key: string): boolean => logins.refusedFor('1.1.1.1', key) > 0;
    logins.add('1.1.1.1', 'a key', true);
    expect(isRefused('a key')).toBe(false);
    for (let n = 0; n < 9_999; n++) logins.add('2.2.2.2', `key ${n}`, true);
    expect(isRefused('a key')).toBe(false);
    logins.add('2.2.2.2', 'another key', true);
    expect([isRefused('a key'), isRefused('key 0')]).toEqual([true, false]);
    logins.add('2.2.2.2', 'key 0', false);
    expect(isRefused('key 0')).toBe(true);
  });
});

describe('an issuer with several keys', () => {
  it('need not name in a token the one it signed with; a key it does not publish is none of them', async () => {
    const pairs = await Promise.all([1, 2, 3].map(() => generateKeyPair('ES256')));
    const [first, second, foreign] = pairs;
    const published = await Promise.all([first, second].map((pair) => pair && exportJWK(pair.publicKey)));
    jwks = createServer((_request, response) => response.end(JSON.stringify({ keys: published })));
    await new Promise<void>((resolve) => jwks?.listen(0, '127.0.0.1', resolve));
    const jwks_url = `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/jwks.json`;
    await using serving = await serve({ security: { auth: 'bearer', bearer: { jwks_url } } });
    const statusOf = async (pair: typeof first, expiry = '5m'): Promise<number> => {
      if (!pair) expect.fail('no key');
      const unnamed = new SignJWT({ sub: 'ana' }).setProtectedHeader({ alg: 'ES256' }).setExpirationTime(expiry);
      return status(serving.url, bearer(await unnamed.sign(pair.privateKey)));
    };
    expect(await statusOf(first)).not.toBe(401);
    expect(await statusOf(second)).not.toBe(401);
    expect(await statusOf(foreign)).toBe(401);
    expect(await statusOf(second, '-5m')).toBe(401);
  });
});

describe('a server', () => {
  it('refuses to serve other machines without asking who calls, unless that is said to be wanted', async () => {
    const agent = await createAgent({ state: { backend: 'memory' } });
    await expect(createAgentServer(agent, { host: '0.0.0.0' })).rejects.toMatchObject({ code: 'SERVER_INSECURE' });
    await expect(createAgentServer(agent, { host: '10.0.0.1' })).rejects.toMatchObject({ code: 'SERVER_INSECURE' });
    await expect(createAgentServer(agent, { host: '127.evil.example' })).rejects.toMatchObject({
      code: 'SERVER_INSECURE',
    });
    const server = await createAgentServer(agent, { host: '0.0.0.0', port: 0, allowAnonymous: true });
    await server.stop();
  });

  it('that serves this machine only answers to its names alone, so that no web page reaches it by another', async () => {
    await using serving = await serve({ server: { url: 'https://agent.example.com' } });
    const port = Number(serving.port);
    const statusFor = (host: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const headers = { Host: host, 'Content-Type': 'application/json' };
        const ask = httpRequest(
          { port, host: '127.0.0.1', path: '/a2a/jsonrpc', method: 'POST', headers },
          (answer) => {
            answer.resume();
            resolve(answer.statusCode);
          },
        );
        ask.on('error', reject);
        ask.end('{}');
      });
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, 'agent.example.com']) {
      expect(await statusFor(host), host).not.toBe(403);
    }
    for (const host of ['evil.example', `127.0.0.1.evil.example:${port}`, 'localhost.evil.example']) {
      expect(await statusFor(host), host).toBe(403);
    }
  });

  it('lets nobody in particular name a tenant, over both transports alike', async () => {
    await using serving = await serve({ security: { context_ids: 'client' } });
    const rpc = await a2aClient(serving.url);
    expect(textIn(await say(rpc, 'count', { contextId: 'room', tenant: 'north' }))).toBe('1 nobody');
    const answer = await fetch(`${serving.url}/a2a/rest/message:send`, {
      method: 'POST',
      headers: { 'A2A-Version': '1.0', 'Content-Type': 'application/json' },
      body: JSON.stringify({
        tenant: 'north',
        message: { messageId: 'm', contextId: 'room', role: 'ROLE_USER', parts: [{ text: 'count' }] },
      }),
    });
    expect(await answer.text()).toContain('2 nobody');
  });

  it('lets nobody in particular name conversations where the configuration says so', async () => {
    await using serving = await serve({ security: { context_ids: 'client' } });
    const client = await a2aClient(serving.url);
    expect(textIn(await say(client, 'count', { contextId: 'mine' }))).toBe('1 nobody');
    expect(textIn(await say(client, 'count', { contextId: 'mine' }))).toBe('2 nobody');
  });

  it('limits how often one caller may ask, and not the others', async () => {
    await using serving = await serve({ security: { ...KEYS, rate_limit: { requests: 3, seconds: 60 } } });
    const codes = [];
    for (let n = 0; n < 5; n++) codes.push(await status(serving.url, ANA));
    expect(codes.map((code) => code === 429)).toEqual([false, false, false, true, true]);
    expect(await status(serving.url, BEN)).not.toBe(429);
    expect((await fetch(`${serving.url}/healthz`)).status).toBe(200);
  });

  it('believes as many proxies as it is told to of where a caller without a name is', async () => {
    const limited = { rate_limit: { requests: 2, seconds: 60 } };
    const codesOf = async (url: string, addresses: string[]) => {
      const codes = [];
      for (const address of addresses) codes.push((await status(url, { 'X-Forwarded-For': address })) === 429);
      return codes;
    };
    await using bare = await serve({ security: limited });
    expect(await codesOf(bare.url, ['1.1.1.1', '2.2.2.2', '3.3.3.3'])).toEqual([false, false, true]);
    await using behind = await serve({ security: limited, server: { proxies: 1 } });
    // What the proxy says stands last; before it is what the caller made up.
    expect(await codesOf(behind.url, ['1.1.1.1', '2.2.2.2', '3.3.3.3'])).toEqual([false, false, false]);
    expect(await codesOf(behind.url, ['8.8.8.8, 4.4.4.4', '9.9.9.9, 4.4.4.4', '7.7.7.7, 4.4.4.4'])).toEqual([
      false,
      false,
      true,
    ]);
  });

  it('says that a conversation is busy when as many messages wait as may, and then goes on', async () => {
    await using serving = await serve({ state: { backend: 'memory', queue: 2 } });
    const client = await a2aClient(serving.url);
    const rest = await a2aClient(serving.url, { transport: 'rest' });
    const { contextId } = await say(client, 'count');
    closeGate();
    const first = say(client, 'hang', { contextId });
    await expect.poll(() => shared.log).toContain(`hang ${contextId}`);
    const second = say(client, 'count', { contextId });
    await expect
      .poll(() => say(client, 'count', { contextId }).catch((error: Error) => error.message))
      .toContain('This conversation is busy. Try again later.');
    await expect(say(rest, 'count', { contextId })).rejects.toThrow('This conversation is busy.');
    expect(textIn(await say(client, 'count'))).toBe('1 nobody');
    shared.open();
    expect([textIn(await first), textIn(await second)]).toEqual(['let go', '2 nobody']);
    expect(textIn(await say(client, 'count', { contextId }))).toBe('3 nobody');
  });

  it('shows of a reply that JSON cannot hold what it can', async () => {
    await using serving = await serve();
    const client = await a2aClient(serving.url);
    expect(textIn(await say(client, 'odd function'))).toBe('[Function: function]');
    expect(textIn(await say(client, 'odd bigint'))).toBe('10');
    expect(textIn(await say(client, 'odd cyclic'))).toContain('[Circular');
    expect(textIn(await say(client, 'odd map'))).toBe('{"a":[1,2]}');
    expect(textIn(await say(client, 'odd web'))).toBe('once upon');
  });

  it('answers what is no request of the protocol without telling anything', async () => {
    await using serving = await serve();
    const post = async (path: string, body: string, type = 'application/json', version = '1.0') => {
      const answer = await fetch(`${serving.url}${path}`, {
        method: 'POST',
        headers: { 'Content-Type': type, 'A2A-Version': version },
        body,
      });
      return { status: answer.status, text: await answer.text() };
    };
    const message = (parts: string, more = '') =>
      `{"message":{"messageId":"m","role":"ROLE_USER","parts":${parts}${more}}}`;
    const rpc = (params: string, method = 'SendMessage') =>
      `{"jsonrpc":"2.0","id":1,"method":"${method}","params":${params}}`;
    const nested = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`;
    const answers = [
      await post('/a2a/jsonrpc', '{'),
      await post('/a2a/jsonrpc', '[]'),
      await post('/a2a/jsonrpc', '"x"'),
      await post('/a2a/jsonrpc', '{"jsonrpc":"2.0","id":1,"method":"no/such"}'),
      await post('/a2a/jsonrpc', '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"parts":5}}}'),
      await post('/a2a/jsonrpc', '{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":null}'),
      await post('/a2a/jsonrpc', 'x', 'text/plain'),
      await post('/a2a/rest/message:send', '{"message":{"messageId":7}}'),
      await post('/nothing', '{}'),
      await post('/a2a/jsonrpc', rpc(message('[null]'))),
      await post('/a2a/jsonrpc', rpc('{"message":null}', 'message/send'), undefined, '0.3'),
      await post('/a2a/jsonrpc', rpc(message('[{"text":{"toString":5}}]'))),
      await post('/a2a/rest/message:send', message('[null]')),
      await post('/a2a/rest/message:send', message('[{"raw":5}]')),
      await post('/a2a/rest/message:stream', message('[null]')),
      await post('/a2a/rest/message:send', message('[{"text":"count"}]', `,"taskId":"${'x'.repeat(5000)}"`)),
      await post('/a2a/rest/%E0%A4%A/message:send', '{}'),
    ];
    for (const { status, text } of answers) {
      expect(status, text).toBeLessThan(500);
      expect(text).not.toMatch(/node_modules|\.ts|\.js:|at |Cannot|argument must be/);
    }
    const deep = await post('/a2a/jsonrpc', rpc(message(`[{"data":${nested}}]`)));
    expect(deep.text).not.toMatch(/Maximum|stack/);
    expect((await fetch(`${serving.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${serving.url}/nothing`)).status).toBe(404);
  });
});
