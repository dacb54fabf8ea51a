import { AGENT_CARD_PATH } from '@a2a-js/sdk';
import { type AgentExecutor, DefaultRequestHandler } from '@a2a-js/sdk/server';
import { agentCardHandler, jsonRpcHandler, restHandler } from '@a2a-js/sdk/server/express';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Agent } from '../../agent/agent.js';
import type { Logger } from '../../logger.js';
import type { ContextIds } from '../context-ids.js';
import { ANONYMOUS } from '../identity.js';
import { inOrder, type Layer, type ServedRequest } from '../layers.js';
import { agentCardOf, PATHS } from './agent-card.js';
import { STREAM, StatefulExecutor } from './agent-executor.js';
import { Caller } from './caller.js';
import { conceal } from './conceal.js';
import { ConversationGate } from './conversation-gate.js';
import { jsonRpcCall } from './json-rpc-call.js';
import { jsonRpcStreams } from './json-rpc-streams.js';
import { PushSender } from './push-sender.js';
import { StatePushStore } from './push-store.js';
import { GuardedRequestHandler } from './request-handler.js';
import { TaskBuses } from './task-buses.js';
import { StateTaskStore } from './task-store.js';

/** Longest wait of a server that stops for its tasks to be written, and then for news of them, in milliseconds. */
const MOST_FOR_NEWS_MS = 5000;

export interface A2ARoutes {
  /** The card, which everyone may see. */
  readonly card: RequestHandler;
  /** The transports. Whoever mounts them has set `req.identity` and read the body. */
  readonly transports: readonly (readonly [path: string, handler: Layer<Request, Response>])[];
  /** Most of what JSON-RPC is asked for, without express. The rest goes on to the transport. */
  readonly call: Layer;
  /** Waits for turns that run, cancels those that take longer than `timeoutMs`. @returns how many those were */
  stop(timeoutMs: number): Promise<number>;
  /** For when all of them have been answered. */
  leave(): Promise<void>;
}

/** What an agent's A2A server consists of, over the storage of the agent. */
export function a2aRoutes(agent: Agent, url: () => string, contextIds: ContextIds, logger: Logger): A2ARoutes {
  const { server, security, state } = agent.config;
  const { storage } = agent.context;
  const tasks = new StateTaskStore(storage, {
    ttl: server.task_ttl,
    historyLimit: server.history_limit,
    streamArtifact: STREAM,
  });
  const executor = new StatefulExecutor(agent, tasks, logger);
  const gate = new ConversationGate(state.queue);
  const push =
    server.push_hosts.length > 0 ? new StatePushStore(storage, server.push_hosts, server.task_ttl) : undefined;
  const sender = push && new PushSender(push, logger);
  const requestHandler = new GuardedRequestHandler(
    new DefaultRequestHandler(
      agentCardOf(agent, url()),
      tasks,
      counted(executor, gate),
      new TaskBuses(),
      push,
      sender,
      undefined,
      undefined,
      // A task that waits for an answer may wait for days: nothing of it stays in this process.
      { keepBusAliveStates: [] },
    ),
    {
      contextIds,
      freeContextIds: security.context_ids === 'client',
      freeTenants: security.auth === 'none',
      partsLimit: server.parts_limit,
    },
    gate,
    tasks,
    logger,
  );
  const userBuilder = async (request: Request & ServedRequest): Promise<Caller> =>
    new Caller(request.identity ?? ANONYMOUS, request.res);
  const options = { requestHandler, userBuilder, legacyCompat: { enabled: true } };
  const transports = [
    [
      PATHS.jsonRpc,
      inOrder<Request, Response>(conceal(logger), jsonRpcStreams(requestHandler), jsonRpcHandler(options)),
    ],
    [PATHS.rest, inOrder<Request, Response>(conceal(logger), restHandler(options))],
  ] as const;
  const card = Router();
  card.use(
    `/${AGENT_CARD_PATH}`,
    agentCardHandler({ agentCardProvider: async () => agentCardOf(agent, url()), legacyCompat: { enabled: true } }),
  );
  return {
    card,
    transports,
    call: jsonRpcCall(requestHandler, logger),
    stop: async (timeoutMs) => {
      const late = await executor.stop(timeoutMs);
      // The SDK writes how a task ended after its turn, and only then answers who waits for it.
      await tasks.ended(MOST_FOR_NEWS_MS);
      return late;
    },
    leave: async () => {
      await sender?.end(MOST_FOR_NEWS_MS);
      await tasks.leave();
    },
  };
}

/** An executor whose runs the gate counts. */
function counted(executor: StatefulExecutor, gate: ConversationGate): AgentExecutor {
  return {
    execute: async (request, bus) => {
      const ended = executor.execute(request, bus);
      gate.enter(request.context, request.taskId);
      try {
        await ended;
      } finally {
        gate.leave(request.context);
      }
    },
    cancelTask: (taskId) => executor.cancelTask(taskId),
  };
}
