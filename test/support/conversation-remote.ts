import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Agent } from '../../src/agent/agent.js';
import { createAgent } from '../../src/agent/create-agent.js';
import { API_PATH, OPERATIONS, type OperationName } from '../../src/conversation-api/operations.js';
import type { ConversationResource } from '../../src/conversation-api/schemas.js';
import { createConversationApi } from '../../src/server/index.js';

/** What happens to a request. `drop`: it has its effect, and the connection ends before the answer. */
export type Mood =
  | 'up'
  | 'drop'
  | { readonly slowMs: number }
  | { readonly status: number; readonly retryAfter?: string };

export interface Seen {
  readonly name: OperationName | undefined;
  readonly idempotencyKey: string | undefined;
  readonly body: unknown;
}

/** The real conversation API, of an agent with its memory, behind a line that has the faults of networks and servers. */
export class ConversationRemote implements AsyncDisposable {
  readonly apiKey = 'test-key';
  readonly seen: Seen[] = [];
  connections = 0;
  /** Asked for every request. */
  mood: (name: OperationName | undefined) => Mood = () => 'up';
  /** Refuses a request for good: the code of its 422. */
  refuse: (name: OperationName | undefined, body: unknown) => string | undefined = () => undefined;
  readonly #line = createServer((request, response) => void this.#answer(request, response));
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Map<string, string>();
  #agent: Agent | undefined;
  #directory = '';
  #api: Server | undefined;
  #apiUrl = '';
  #port = 0;

  constructor() {
    this.#line.on('connection', (socket) => {
      this.connections++;
      this.#sockets.add(socket.on('close', () => this.#sockets.delete(socket)));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Can be reached: at first on any port, later on the same one again. */
  async start(): Promise<this> {
    if (!this.#agent) {
      const api_keys = [{ key: this.apiKey, sub_domains: ['shop', 'my-shop'] }];
      // Not in memory: within a process that is one store, and the remote's is not the app's.
      this.#directory = await mkdtemp(join(tmpdir(), 'agentup-remote-'));
      const state = { backend: 'file', storage_dir: this.#directory } as const;
      this.#agent = await createAgent({ state, conversations: { api_keys } });
      this.#api = createServer(createConversationApi(this.#agent));
      this.#apiUrl = `http://127.0.0.1:${await listen(this.#api, 0)}`;
    }
    this.#port = await listen(this.#line, this.#port);
    return this;
  }

  /** Is gone, as far as clients can tell. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((done) => this.#line.close(() => done()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#line.listening) await this.stop();
    this.#api?.closeAllConnections();
    await new Promise<void>((done) => (this.#api ? this.#api.close(() => done()) : done()));
    await this.#agent?.close();
    if (this.#directory !== '') await rm(this.#directory, { recursive: true, force: true });
  }

  /** The user's conversations that were begun over this line, oldest first, ended ones too. */
  async of(userId: string): Promise<ConversationResource[]> {
    const found: ConversationResource[] = [];
    for (const [sessionId, subDomain] of this.#sessions) {
      const query = new URLSearchParams({ subDomain, messages: '1000' });
      const answer = await this.#ask(`/conversations/${sessionId}?${query}`);
      if (answer?.userId === userId) found.push(answer);
    }
    return found;
  }

  /** Everything that was said in the user's conversations. */
  async said(userId: string): Promise<unknown[]> {
    return (await this.of(userId)).flatMap(({ context }) => context.previousMessages.map(({ content }) => content));
  }

  /** Forgets a conversation, as one whose time is over. */
  async forget({ sessionId, subDomain, userId }: ConversationResource): Promise<void> {
    this.#sessions.delete(sessionId);
    await this.#agent?.context.scoped({ tenantId: subDomain, userId }).clearContext(sessionId);
  }

  async #ask(path: string): Promise<ConversationResource | undefined> {
    const answer = await fetch(this.#apiUrl + API_PATH + path, { headers: { 'x-service-api-key': this.apiKey } });
    const body: unknown = await answer.json();
    return answer.ok ? (body as ConversationResource) : undefined;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      await this.#pass(request, Buffer.concat(chunks).toString(), response);
    } catch {
      request.socket.destroy();
    }
  }

  async #pass(request: IncomingMessage, text: string, response: ServerResponse): Promise<void> {
    const { method = '', url = '/' } = request;
    const name = nameOf(method, new URL(url, this.url).pathname);
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    this.seen.push({ name, idempotencyKey: request.headers['idempotency-key'] as string | undefined, body });
    const mood = this.mood(name);
    if (typeof mood === 'object' && 'status' in mood) {
      if (mood.retryAfter !== undefined) response.setHeader('retry-after', mood.retryAfter);
      return problem(response, mood.status, 'FAULT');
    }
    if (typeof mood === 'object') await delay(mood.slowMs);
    const refused = this.refuse(name, body);
    if (refused !== undefined) return problem(response, 422, refused);
    const headers = Object.fromEntries(
      Object.entries(request.headers).filter(([header]) => !['host', 'connection', 'content-length'].includes(header)),
    ) as Record<string, string>;
    const answer = await fetch(this.#apiUrl + url, { method, headers, ...(text !== '' && { body: text }) });
    const said = await answer.text();
    if (name === 'create' && answer.ok) {
      const { sessionId, subDomain } = JSON.parse(said) as ConversationResource;
      this.#sessions.set(sessionId, subDomain);
    }
    if (mood === 'drop') return void request.socket.destroy();
    response.statusCode = answer.status;
    for (const header of ['content-type', 'etag', 'idempotency-replayed', 'retry-after']) {
      const value = answer.headers.get(header);
      if (value !== null) response.setHeader(header, value);
    }
    response.end(said);
  }
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

/** Which call of the API a request is. */
function nameOf(method: string, path: string): OperationName | undefined {
  for (const name of Object.keys(OPERATIONS) as OperationName[]) {
    const operation = OPERATIONS[name];
    const pattern = (API_PATH + operation.path).replace(/:\w+/g, '[^/]+');
    if (operation.method === method.toLowerCase() && new RegExp(`^${pattern}$`).test(path)) return name;
  }
  return undefined;
}

function problem(response: ServerResponse, status: number, code: string): void {
  response.statusCode = status;
  response.setHeader('content-type', 'application/problem+json');
  response.end(JSON.stringify({ type: 'about:blank', title: code, status, code }));
}
