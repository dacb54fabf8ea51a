import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { API_PATH, OPERATIONS, type Operation, type OperationName } from '../../src/conversation-api/operations.js';

type Json = Record<string, unknown>;

interface Session extends Json {
  sessionId: string;
  subDomain: string;
  userId: string;
  isActive: boolean;
  context: Json & { previousMessages: Json[] };
  metadata: Json;
  orderHistory: string[];
  messageCount: number;
  version: number;
  keys: Map<string, string>;
}

/** What a remote does with a request. `drop`: it has its effect, and the connection ends before the answer. */
export type Mood =
  | 'up'
  | 'drop'
  | { readonly slowMs: number }
  | { readonly status: number; readonly retryAfter?: string };

export interface Seen {
  readonly name: OperationName;
  readonly idempotencyKey: string | undefined;
  readonly body: unknown;
}

/**
 * A remote with the conversation API, made of its table of operations: in memory, over real HTTP, with the faults that
 * networks and servers have.
 */
export class ConversationRemote implements AsyncDisposable {
  readonly sessions = new Map<string, Session>();
  readonly seen: Seen[] = [];
  /** Asked for every request. */
  mood: (name: OperationName) => Mood = () => 'up';
  /** Refuses a request for good: the code of its 422. */
  refuse: (name: OperationName, body: Json) => string | undefined = () => undefined;
  apiKey = 'test-key';
  connections = 0;
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  readonly #sockets = new Set<Socket>();
  #port = 0;

  constructor() {
    this.#server.on('connection', (socket) => {
      this.connections++;
      this.#sockets.add(socket.on('close', () => this.#sockets.delete(socket)));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Listens: at first on any port, later on the same one again. */
  async start(): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(this.#port, '127.0.0.1', done));
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** Is gone, as far as clients can tell. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((done) => this.#server.close(() => done()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.stop();
  }

  /** The user's sessions, oldest first. */
  of(userId: string): Session[] {
    return [...this.sessions.values()].filter((session) => session.userId === userId);
  }

  /** Everything that was said in the user's sessions. */
  said(userId: string): unknown[] {
    return this.of(userId).flatMap(({ context }) => context.previousMessages.map(({ content }) => content));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      await this.#handle(request, Buffer.concat(chunks).toString(), response);
    } catch (error) {
      if (!response.destroyed) problem(response, 500, 'INTERNAL', String(error));
    }
  }

  async #handle(request: IncomingMessage, text: string, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const route = routeOf(request.method ?? '', url.pathname);
    if (!route) return problem(response, 404, 'NOT_FOUND');
    const { name, operation, params } = route;
    const body = text === '' ? undefined : (JSON.parse(text) as Json);
    const idempotencyKey = request.headers['idempotency-key'] as string | undefined;
    this.seen.push({ name, idempotencyKey, body });
    const mood = this.mood(name);
    if (typeof mood === 'object' && 'status' in mood) {
      if (mood.retryAfter !== undefined) response.setHeader('retry-after', mood.retryAfter);
      return problem(response, mood.status, 'FAULT');
    }
    if (typeof mood === 'object') await delay(mood.slowMs);
    if (request.headers['x-service-api-key'] !== this.apiKey) return problem(response, 401, 'UNAUTHENTICATED');
    const query = operation.query.safeParse(Object.fromEntries(url.searchParams));
    const parsed = operation.body?.safeParse(body);
    if (!query.success || parsed?.success === false) return problem(response, 422, 'INVALID');
    const refused = this.refuse(name, body ?? {});
    if (refused !== undefined) return problem(response, 422, refused);
    const effect = this.#effect(name, operation, params, {
      query: query.data as Json,
      body: (parsed?.data ?? {}) as Json,
      idempotencyKey,
      ifMatch: request.headers['if-match'],
      text,
    });
    if (mood === 'drop') return void request.socket.destroy();
    if ('status' in effect && typeof effect.status === 'number' && effect.code)
      return problem(response, effect.status, effect.code);
    const { session, replayed, created, other } = effect;
    response.statusCode = created ? 201 : 200;
    response.setHeader('content-type', 'application/json');
    if (replayed) response.setHeader('idempotency-replayed', 'true');
    if (session) response.setHeader('etag', `"${session.version}"`);
    const limit = Number(query.data['messages'] ?? 50);
    response.end(JSON.stringify(other ? other(limit) : shown(session as Session, limit)));
  }

  #effect(
    name: OperationName,
    operation: Operation,
    params: Record<string, string>,
    asked: { query: Json; body: Json; idempotencyKey: string | undefined; ifMatch: string | undefined; text: string },
  ): {
    status?: number;
    code?: string;
    session?: Session;
    replayed?: boolean;
    created?: boolean;
    other?: (limit: number) => Json;
  } {
    const { query, body, idempotencyKey, ifMatch, text } = asked;
    if (name === 'create') {
      const known = this.of(body['userId'] as string).find(({ isActive }) => isActive);
      if (known) return { session: known };
      return { session: this.#begin(body), created: true };
    }
    if (name === 'list') {
      const conversations = [...this.sessions.values()].filter(
        (one) => one.isActive && one.subDomain === query['subDomain'],
      );
      return { other: (limit) => ({ conversations: conversations.map((one) => shown(one, limit)), nextCursor: null }) };
    }
    if (name === 'tenantOfPhone') return { other: () => ({ phone: params['phone'], subDomain: 'shop' }) };
    const user = params['userId'] ?? params['phone'];
    const session =
      user !== undefined
        ? this.of(user).find(({ isActive }) => isActive)
        : this.sessions.get(params['sessionId'] ?? '');
    if (!session) return { status: 404, code: 'NOT_FOUND' };
    if (name === 'conversationOfPhone')
      return { other: (limit) => ({ phone: user, conversation: shown(session, limit) }) };
    if (!operation.writes) return { session };
    const known = idempotencyKey === undefined ? undefined : session.keys.get(idempotencyKey);
    if (known !== undefined)
      return known === name + text ? { session, replayed: true } : { status: 422, code: 'IDEMPOTENCY_MISMATCH' };
    if (!session.isActive) return { status: 409, code: 'CONVERSATION_ENDED' };
    if (ifMatch !== undefined && ifMatch !== `"${session.version}"`) return { status: 412, code: 'CONFLICT' };
    if (idempotencyKey !== undefined) session.keys.set(idempotencyKey, name + text);
    change(session, name, body);
    session.version++;
    return { session };
  }

  #begin(body: Json): Session {
    const session: Session = {
      ...(body as { subDomain: string; userId: string }),
      sessionId: randomUUID(),
      isActive: true,
      context: { previousMessages: [] },
      metadata: {},
      orderHistory: [],
      messageCount: 0,
      version: 1,
      keys: new Map(),
      createdAt: new Date().toISOString(),
      updatedAt: new Date().toISOString(),
    };
    this.sessions.set(session.sessionId, session);
    return session;
  }
}

function change(session: Session, name: OperationName, body: Json): void {
  if (name === 'end') session.isActive = false;
  if (name === 'reset')
    Object.assign(session, { context: { previousMessages: [] }, messageCount: 0, currentIntent: undefined });
  for (const field of ['currentIntent', 'currentStep']) if (body[field] !== undefined) session[field] = body[field];
  const order = body['orderId'] ?? body['currentOrderId'];
  if (typeof order === 'string') {
    session['currentOrderId'] = order;
    if (!session.orderHistory.includes(order)) session.orderHistory.push(order);
  }
  for (const section of ['context', 'metadata'] as const) {
    for (const [key, value] of Object.entries((body[section] as Json | undefined) ?? {})) {
      if (value === null) delete session[section][key];
      else session[section][key] = value;
    }
  }
  const messages = (body['messages'] ?? (body['content'] === undefined ? [] : [body])) as Json[];
  for (const message of messages) {
    session.context.previousMessages.push({
      timestamp: new Date().toISOString(),
      ...message,
      role: message['role'] === 'bot' ? 'assistant' : message['role'],
    });
    session.messageCount++;
    if (message['role'] === 'user') session['lastUserMessage'] = message['content'];
  }
}

function shown({ keys: _, version: __, ...session }: Session, limit: number): Json {
  const { previousMessages } = session.context;
  return {
    ...session,
    context: { ...session.context, previousMessages: limit === 0 ? [] : previousMessages.slice(-limit) },
  };
}

function routeOf(
  method: string,
  path: string,
): { name: OperationName; operation: Operation; params: Record<string, string> } | undefined {
  for (const [name, operation] of Object.entries(OPERATIONS) as [OperationName, Operation][]) {
    if (operation.method !== method.toLowerCase()) continue;
    const pattern = (API_PATH + operation.path).replace(/:(\w+)/g, '(?<$1>[^/]+)');
    const match = new RegExp(`^${pattern}$`).exec(path);
    if (!match) continue;
    const params = Object.fromEntries(
      Object.entries(match.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]),
    );
    return { name, operation, params };
  }
  return undefined;
}

function problem(response: ServerResponse, status: number, code: string, title = code): void {
  response.statusCode = status;
  response.setHeader('content-type', 'application/problem+json');
  response.end(JSON.stringify({ type: 'about:blank', title, status, code }));
}
