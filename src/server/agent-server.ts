import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Request, Response } from 'express';
import type { Agent } from '../agent/agent.js';
import { checkAgent } from '../agent/check-agent.js';
import { API_PATH } from '../conversation-api/operations.js';
import { AgentUpError, messageOf } from '../errors.js';
import { type Logger, silentLogger } from '../logger.js';
import { a2aRoutes } from './a2a/a2a-routes.js';
import { PATHS } from './a2a/agent-card.js';
import { authenticatorOf, credentialHeaderOf } from './auth/authenticator.js';
import { FailedLogins, limitFailedLogins } from './auth/failed-logins.js';
import { clientAddress } from './client-address.js';
import { ContextIds } from './context-ids.js';
import { conversationRoutes } from './conversations/conversation-routes.js';
import { expressApp, failed, nothingHere } from './express-app.js';
import { healthRoutes } from './health.js';
import { below, inOrder, type Layer } from './layers.js';
import { MCP_PATH, mcpRoutes } from './mcp/mcp-routes.js';
import { forHosts, identify, rateLimited, refuseWhen } from './middleware.js';
import { readBody } from './read-body.js';
import { dropStalled } from './stalled.js';

/**
 * How long an idle connection is kept: longer than the minute after which proxies and load balancers give theirs up, or
 * they would send requests into connections that this side is closing.
 */
const IDLE_MS = 65_000;

export interface AgentServerOptions {
  /** Instead of `server.host` of the configuration. */
  readonly host?: string | undefined;
  /** Instead of `server.port`. */
  readonly port?: number | undefined;
  /** Serve other machines without asking who calls; instead of `security.allow_anonymous`. */
  readonly allowAnonymous?: boolean | undefined;
  /** Serve the conversation API too; instead of `conversations.serve`. */
  readonly conversations?: boolean | undefined;
  /** Serve MCP too; instead of `server.mcp`. */
  readonly mcp?: boolean | undefined;
  readonly logger?: Logger | undefined;
}

/** An agent on the network: its A2A transports, its card, its health. Made by `createAgentServer`. */
export class AgentServer {
  /**
   * For a server of your own: mount it (it is an express application), and listen yourself. `listen()` is faster: it
   * answers most messages without express.
   */
  readonly app: RequestListener;
  readonly agent: Agent;
  readonly #calls: readonly Stoppable[];
  readonly #http: Server;
  readonly #host: string;
  readonly #port: number;
  readonly #logger: Logger;
  readonly #state: ServerState;
  #stopping: Promise<number> | undefined;

  /** @internal */
  constructor(
    agent: Agent,
    app: RequestListener,
    listener: RequestListener,
    calls: readonly Stoppable[],
    state: ServerState,
    place: Place,
    logger: Logger,
  ) {
    this.agent = agent;
    this.app = app;
    this.#calls = calls;
    this.#state = state;
    this.#host = place.host;
    this.#port = place.port;
    this.#logger = logger;
    this.#http = createServer(listener);
    this.#http.keepAliveTimeout = IDLE_MS;
  }

  /** Where clients reach the agent: `server.url`, else the address listened on. */
  get url(): string {
    return this.#state.url();
  }

  /** The port listened on; 0 before. */
  get port(): number {
    return (this.#http.address() as AddressInfo | null)?.port ?? 0;
  }

  /**
   * Starts listening, and looking for conversations that are over.
   * @throws SERVER_FAILED when the address cannot be listened on
   */
  async listen(): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#http.once('error', (cause: NodeJS.ErrnoException) => {
        const inUse = cause.code === 'EADDRINUSE';
        const message = `cannot listen on ${this.#host}:${this.#port}: ${inUse ? 'the port is in use' : messageOf(cause)}`;
        const fix = inUse ? 'stop what listens there, or choose another --port' : 'choose another --host or --port';
        reject(new AgentUpError('SERVER_FAILED', message, { cause, fix }));
      });
      this.#http.listen(this.#port, this.#host, resolve);
    });
    const { address, family, port } = this.#http.address() as AddressInfo;
    this.agent.conversations.watch();
    this.#state.listening = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
    return this.url;
  }

  /**
   * Takes no new work, lets running turns end, for `server.stop_timeout` at most, then cancels them; closes the agent.
   * Idempotent.
   * @returns how many turns had to be cancelled
   */
  stop(): Promise<number> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stop(): Promise<number> {
    this.#state.stopping = true;
    const closed = new Promise<void>((resolve) => {
      if (this.#http.listening) this.#http.close(() => resolve());
      else resolve();
    });
    this.#http.closeIdleConnections();
    const begun = performance.now();
    const timeoutMs = this.agent.config.server.stop_timeout * 1000;
    const late = await Promise.all(this.#calls.map((calls) => calls.stop(timeoutMs)));
    const cancelled = late.reduce((sum, count) => sum + count, 0);
    if (cancelled > 0) this.#logger.warn(`${cancelled} turns took too long to end and were cancelled`);
    // What has been said reaches its reader before the connections go.
    const goodbye = setTimeout(() => this.#http.closeAllConnections(), 1000);
    const idle = setInterval(() => this.#http.closeIdleConnections(), 20);
    await closed;
    clearTimeout(goodbye);
    clearInterval(idle);
    for (const calls of this.#calls) await calls.leave?.();
    // A hook of a conversation that is over can be running still, and is nothing that can be cancelled.
    await this.agent.close({ timeoutMs: Math.max(timeoutMs - (performance.now() - begun), 1000) });
    return cancelled;
  }
}

/** Something that runs turns for callers. */
interface Stoppable {
  stop(timeoutMs: number): Promise<number>;
  /** Says goodbye to other processes, while the storage is still open. */
  leave?(): Promise<void>;
}

interface Place {
  readonly host: string;
  readonly port: number;
}

interface ServerState {
  stopping: boolean;
  listening: string | undefined;
  readonly url: () => string;
}

/**
 * Puts an agent on the network, as `server` and `security` of its configuration say; `listen()` starts it. Closing it
 * closes the agent.
 * @throws SERVER_INSECURE where it would serve other machines without asking who calls; STORAGE_UNAVAILABLE
 */
export async function createAgentServer(agent: Agent, options: AgentServerOptions = {}): Promise<AgentServer> {
  checkAgent(agent, 'createAgentServer()');
  const { server, security } = agent.config;
  const { host = server.host, port = server.port, logger = silentLogger } = options;
  const onlyHere = security.auth === 'none' && !(options.allowAnonymous ?? security.allow_anonymous);
  if (onlyHere && !isLoopback(host)) {
    throw new AgentUpError('SERVER_INSECURE', `${host} is reached by other machines, and security.auth is none`, {
      fix: 'set security.auth, or say that everyone may use the agent: --allow-anonymous, security.allow_anonymous',
    });
  }
  const state: ServerState = {
    stopping: false,
    listening: undefined,
    url: () => server.url ?? state.listening ?? `http://${host}:${port}`,
  };
  const contextIds = await ContextIds.over(agent.context.storage);
  const a2a = a2aRoutes(agent, state.url, contextIds, logger);
  const policy = { contextIds, freeContextIds: security.context_ids === 'client' };
  const mcp = (options.mcp ?? server.mcp) ? mcpRoutes(agent, policy, logger) : undefined;
  const logins = new FailedLogins(security.login_limit);
  const credential = credentialHeaderOf(security);
  const addressOf = clientAddress(server.proxies);
  const admit = inOrder(
    refuseWhen(() => state.stopping),
    ...(onlyHere ? [forHosts((name) => isLoopback(name) || name === hostOf(server.url))] : []),
    ...(credential === undefined ? [] : [limitFailedLogins(logins, credential, addressOf)]),
    identify(authenticatorOf(security), security, logger),
    ...(security.rate_limit.requests > 0 ? [rateLimited(security.rate_limit, addressOf)] : []),
    ...readBody(server.body_limit),
  );
  const transports = [...a2a.transports, ...(mcp ? [[MCP_PATH, mcp.handler] as const] : [])];
  const served = transports.map(
    ([path, handler]) => [path, inOrder<Request, Response>(admit, handler, nothingHere)] as const,
  );
  const app = expressApp(logger, (app) => {
    // What is asked for most comes first: each entry before it is looked at for every request.
    app.use(inOrder<Request, Response>(dropStalled, ...served.map(([path, handler]) => below(path, handler))));
    for (const [path, handler] of served) app.use(path, handler);
    if (options.conversations ?? agent.config.conversations.serve) {
      app.use(
        API_PATH,
        refuseWhen(() => state.stopping),
      );
      app.use(conversationRoutes(agent, logger, logins));
    }
    app.use(a2a.card);
    app.use(healthRoutes(agent, () => state.stopping));
  });
  const admitted = expressApp(logger, (app) => {
    for (const [path, handler] of a2a.transports) app.use(path, handler);
  });
  const inExpress: Layer = (request, response) => admitted(request, response);
  const call = inOrder(dropStalled, admit, a2a.call, inExpress, failed(logger));
  const listener: RequestListener = (request, response) => {
    if (request.method !== 'POST' || request.url !== PATHS.jsonRpc) return app(request, response);
    call(request, response, () => response.destroy());
  };
  return new AgentServer(agent, app, listener, mcp ? [a2a, mcp] : [a2a], state, { host, port }, logger);
}

function hostOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : new URL(url).hostname;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
