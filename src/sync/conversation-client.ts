import { checkObject } from '../check-object.js';
import type {
  ContextInput,
  ConversationLookup,
  ConversationPage,
  ConversationResource,
  CreateInput,
  IntentInput,
  MessageInput,
  SyncInput,
  TenantLookup,
} from '../conversation-api/schemas.js';
import { AgentUpError } from '../errors.js';
import { remoteError, unreachable } from './remote-error.js';
import { pauseMs, sleep } from './retry.js';

export type {
  ContextInput,
  ConversationLookup,
  ConversationPage,
  ConversationResource,
  CreateInput,
  IntentInput,
  MessageInput,
  SyncInput,
  TenantLookup,
};

export interface ConversationClientOptions {
  /** The root of the API: `https://shop.example/api/v1`. Without a path `/api/v1` is added. */
  readonly baseUrl: string;
  /** Sent as `X-Service-API-Key`. */
  readonly apiKey: string;
  /** The tenant of calls that name none. Owed where the key may use several. */
  readonly subDomain?: string | undefined;
  /** Until one attempt is given up, in milliseconds. Default 10000. */
  readonly timeoutMs?: number | undefined;
  /** How often a call that failed for a passing reason is tried again. Default 2. */
  readonly retries?: number | undefined;
  /** First and longest pause between attempts, in milliseconds. Default 200 and 5000. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number } | undefined;
  /** Default: the platform's, which keeps connections open. */
  readonly fetch?: typeof fetch | undefined;
  /** Epoch milliseconds. Default: the machine's clock. */
  readonly clock?: { now(): number } | undefined;
  /** From 0 to 1. Default: `Math.random`. */
  readonly random?: (() => number) | undefined;
  readonly sleep?: ((ms: number, signal?: AbortSignal) => Promise<void>) | undefined;
}

export interface CallOptions {
  readonly subDomain?: string | undefined;
  /** Newest messages in the answer. Default: the server's, 50. */
  readonly messages?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How often this call is tried again. Default: that of the client. */
  readonly retries?: number | undefined;
}

export interface WriteOptions extends CallOptions {
  /** The same key again has no second effect. Default: a new one for each call, the same for its retries. */
  readonly idempotencyKey?: string | undefined;
  /** The `etag` that the change was decided on: `CONFLICT` where the conversation has changed since. */
  readonly ifMatch?: string | undefined;
}

/** A conversation, and what its answer said about it. */
export interface Answer extends ConversationResource {
  /** For `ifMatch`; absent where the server sent none. */
  readonly etag?: string;
  /** The write had its effect before, this time it had none. */
  readonly replayed: boolean;
}

interface Request {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'PUT';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
}

interface Received<T> {
  readonly body: T;
  readonly headers: Headers;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_RETRIES = 2;
const DEFAULT_BACKOFF = { baseMs: 200, maxMs: 5_000 };
/** A remote that asks for a longer pause than this is not waited for within a call. */
const LONGEST_WAIT_MS = 30_000;

/**
 * Every call of the conversation API, typed. Runs in Node and in browsers: it needs `fetch`, `URL`, `AbortSignal` and
 * `crypto`, and imports nothing of Node's.
 *
 * Every call is safe to try again: reads change nothing, and every write carries an idempotency key. So network errors,
 * timeouts, 408, 425, 429 and 5xx are tried again, with full jitter, and not before a `Retry-After` has passed.
 *
 * Calls reject with `SYNC_UNAVAILABLE` (not reached, or not now), `UNAUTHENTICATED` (401, 403), `SYNC_NOT_FOUND`
 * (404, 410), `CONFLICT` (409, 412), `SYNC_REFUSED` (any other 4xx: it will not pass as it is). `details.status` and
 * `details.reason` are the status and the problem's `code`.
 */
export class ConversationClient {
  readonly #options: ConversationClientOptions;
  readonly #root: string;

  /** @throws INVALID_ARGUMENT */
  constructor(options: ConversationClientOptions) {
    checkObject(options, 'ConversationClient', 'new ConversationClient({ baseUrl, apiKey, subDomain })');
    this.#options = options;
    this.#root = rootOf(options.baseUrl);
    if (typeof options.apiKey !== 'string' || options.apiKey === '') throw invalid('apiKey', 'the API key is missing');
  }

  /** The user's active conversation, made where there is none. */
  create(input: Omit<CreateInput, 'subDomain'> & { subDomain?: string }, options: WriteOptions = {}): Promise<Answer> {
    const subDomain = input.subDomain ?? options.subDomain ?? this.#options.subDomain;
    const body = { ...input, subDomain };
    return this.#write({ method: 'POST', path: '/conversations', body }, { ...options, subDomain });
  }

  /** A conversation. */
  get(sessionId: string, options: CallOptions = {}): Promise<Answer> {
    return this.#conversation({ method: 'GET', path: at(sessionId) }, options);
  }

  /** The user's active conversation. */
  ofUser(userId: string, options: CallOptions = {}): Promise<Answer> {
    return this.#conversation({ method: 'GET', path: `/conversations/user/${encodeURIComponent(userId)}` }, options);
  }

  /** One page of a tenant's active conversations. */
  async list(
    options: CallOptions & { readonly limit?: number | undefined; readonly cursor?: string | undefined } = {},
  ): Promise<ConversationPage> {
    const { limit, cursor } = options;
    const query = { subDomain: options.subDomain ?? this.#options.subDomain, active: 'true', limit, cursor };
    const request: Request = { method: 'GET', path: '/conversations', query };
    return (await this.#send<ConversationPage>(request, options)).body;
  }

  /** All of a tenant's active conversations, page after page. */
  async *listAll(
    options: CallOptions & { readonly limit?: number } = {},
  ): AsyncGenerator<ConversationResource, void, undefined> {
    let cursor: string | undefined;
    do {
      const page: ConversationPage = await this.list({ ...options, cursor });
      yield* page.conversations;
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** What it is about, and where in it. */
  setIntent(sessionId: string, body: IntentInput, options: WriteOptions = {}): Promise<Answer> {
    return this.#write({ method: 'PATCH', path: at(sessionId, 'intent'), body }, options);
  }

  /** Merges entries into the context; `null` removes one. */
  mergeContext(sessionId: string, context: ContextInput, options: WriteOptions = {}): Promise<Answer> {
    return this.#write({ method: 'PATCH', path: at(sessionId, 'context'), body: { context } }, options);
  }

  /** Adds one message, or several in their order. */
  addMessages(
    sessionId: string,
    messages: MessageInput | readonly MessageInput[],
    options: WriteOptions = {},
  ): Promise<Answer> {
    const body = Array.isArray(messages) ? { messages } : messages;
    return this.#write({ method: 'POST', path: at(sessionId, 'messages'), body }, options);
  }

  linkOrder(sessionId: string, orderId: string, options: WriteOptions = {}): Promise<Answer> {
    return this.#write({ method: 'POST', path: at(sessionId, 'orders'), body: { orderId } }, options);
  }

  /** Clears context, messages, intent and order. */
  reset(sessionId: string, options: WriteOptions = {}): Promise<Answer> {
    return this.#write({ method: 'POST', path: at(sessionId, 'reset'), body: {} }, options);
  }

  /** Renews when it expires, in so many seconds. Default: as long as at first. */
  extend(sessionId: string, seconds?: number, options: WriteOptions = {}): Promise<Answer> {
    const body = seconds === undefined ? {} : { seconds };
    return this.#write({ method: 'POST', path: at(sessionId, 'extend'), body }, options);
  }

  end(sessionId: string, options: WriteOptions = {}): Promise<Answer> {
    return this.#write({ method: 'POST', path: at(sessionId, 'end'), body: {} }, options);
  }

  /** Intent, step, context, metadata, messages and order, all or nothing. */
  sync(sessionId: string, body: SyncInput, options: WriteOptions = {}): Promise<Answer> {
    return this.#write({ method: 'PUT', path: at(sessionId, 'sync'), body }, options);
  }

  /** The tenant of a telephone number in E.164. */
  async tenantOfPhone(phone: string, options: CallOptions = {}): Promise<TenantLookup> {
    const path = `/whatsapp/lookup/tenant/${encodeURIComponent(phone)}`;
    return (await this.#send<TenantLookup>({ method: 'GET', path, query: this.#place(options) }, options)).body;
  }

  /** The active conversation of a telephone number in E.164. */
  async conversationOfPhone(phone: string, options: CallOptions = {}): Promise<ConversationLookup> {
    const path = `/whatsapp/lookup/conversation/${encodeURIComponent(phone)}`;
    return (await this.#send<ConversationLookup>({ method: 'GET', path, query: this.#place(options) }, options)).body;
  }

  #place(options: CallOptions): Record<string, string | number | undefined> {
    return { subDomain: options.subDomain ?? this.#options.subDomain, messages: options.messages };
  }

  #write(request: Request, options: WriteOptions): Promise<Answer> {
    const headers: Record<string, string> = { 'idempotency-key': options.idempotencyKey ?? newKey() };
    if (options.ifMatch !== undefined) headers['if-match'] = options.ifMatch;
    return this.#conversation(request, options, headers);
  }

  async #conversation(request: Request, options: CallOptions, headers?: Record<string, string>): Promise<Answer> {
    const asked = { ...request, query: this.#place(options) };
    const { body, headers: answered } = await this.#send<ConversationResource>(asked, options, headers);
    const etag = answered.get('etag');
    return {
      ...body,
      ...(etag !== null && { etag }),
      replayed: answered.get('idempotency-replayed') === 'true',
    };
  }

  async #send<T>(request: Request, options: CallOptions, headers: Record<string, string> = {}): Promise<Received<T>> {
    const { random = Math.random, backoff = DEFAULT_BACKOFF, sleep: rest = sleep } = this.#options;
    const retries = options.retries ?? this.#options.retries ?? DEFAULT_RETRIES;
    for (let failures = 1; ; failures++) {
      try {
        return await this.#attempt<T>(request, options.signal, headers);
      } catch (error) {
        if (!(error instanceof AgentUpError) || error.code !== 'SYNC_UNAVAILABLE') throw error;
        const asked = error.details.retryAfterMs ?? 0;
        if (failures > retries || asked > LONGEST_WAIT_MS) throw error;
        await rest(Math.max(asked, pauseMs(backoff, failures, random)), options.signal);
        options.signal?.throwIfAborted();
      }
    }
  }

  async #attempt<T>(
    { method, path, query = {}, body }: Request,
    signal: AbortSignal | undefined,
    headers: Record<string, string>,
  ): Promise<Received<T>> {
    const { apiKey, timeoutMs = DEFAULT_TIMEOUT_MS, clock = Date, fetch: send = fetch } = this.#options;
    const call = `${method} ${path}`;
    const url = new URL(this.#root + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    signal?.throwIfAborted();
    // Not `AbortSignal.any`: a signal that lives long would remember every request.
    const attempt = new AbortController();
    const give = (): void => attempt.abort(signal?.reason);
    signal?.addEventListener('abort', give, { once: true });
    const late = (): void => attempt.abort(new DOMException('no answer in time', 'TimeoutError'));
    const timer = setTimeout(late, timeoutMs);
    let response: Response;
    let text: string;
    try {
      response = await send(url, {
        method,
        headers: {
          accept: 'application/json',
          'x-service-api-key': apiKey,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        // A redirect would carry the key to whoever it names.
        redirect: 'error',
        signal: attempt.signal,
      });
      // Read to its end also where it is an error: only then is the connection free for the next request.
      text = await response.text();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw unreachable(call, error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', give);
    }
    const json = parsed(text);
    if (!response.ok) throw remoteError(call, response, json as object | undefined, clock.now());
    if (typeof json !== 'object' || json === null) throw unreachable(call, new Error('its answer is not JSON'));
    return { body: json as T, headers: response.headers };
  }
}

function at(sessionId: string, part?: string): string {
  return `/conversations/${encodeURIComponent(sessionId)}${part === undefined ? '' : `/${part}`}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function rootOf(baseUrl: string): string {
  let url: URL;
  try {
    url = new URL(baseUrl);
  } catch (cause) {
    throw invalid('baseUrl', 'the base URL is not a URL', cause);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw invalid('baseUrl', `the base URL begins with ${url.protocol}, not http:// or https://`);
  }
  const path = url.pathname.replace(/\/+$/, '');
  return `${url.origin}${path === '' ? '/api/v1' : path}`;
}

function invalid(argument: string, message: string, cause?: unknown): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', message, { argument, cause });
}

/** `crypto.randomUUID` is missing on pages that are not served over HTTPS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
