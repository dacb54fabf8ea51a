/**
 * A server for the benchmark, told by its first argument what it keeps state in; `echo` is the A2A SDK alone, with an
 * executor that keeps none. Prints its address, ends with its parent.
 */
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { type AgentCard, type Message, Role } from '@a2a-js/sdk';
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from '@a2a-js/sdk/server';
import { jsonRpcHandler, UserBuilder } from '@a2a-js/sdk/server/express';
import { createAgent, withState } from 'agentup';
import { createAgentServer } from 'agentup/a2a';
import express from 'express';
import type { Place } from '../subject.js';

const { kind, place } = JSON.parse(process.argv[2] as string) as { kind: string; place: Place };
process.on('disconnect', () => process.exit());

/** Remembers the visits and both sides of what was said; reads the newest ten messages. */
const chat = withState(
  async function chat(task, context, id) {
    const before = await context.getHistory(id, { limit: 10 });
    const visits = await context.incrementVariable(id, 'visits');
    await context.addToHistory(id, 'user', task.text);
    await context.addToHistory(id, 'assistant', task.text);
    return `${visits} ${before.length} ${task.text}`;
  },
  { history: 10 },
);

process.send?.(kind === 'echo' ? await echo() : await agent(kind));

async function agent(backend: string): Promise<string> {
  const state =
    backend === 'valkey'
      ? { backend: 'valkey' as const, url: place.url, key_prefix: 'served:' }
      : {
          backend: backend as 'memory' | 'file',
          ...(backend === 'file' && { storage_dir: `${place.directory}/served` }),
        };
  const made = await createAgent(
    { state, security: { rate_limit: { requests: 0 }, context_ids: 'client' } },
    { skills: [chat] },
  );
  return `${await (await createAgentServer(made, { port: 0 })).listen()}/a2a/jsonrpc`;
}

async function echo(): Promise<string> {
  const card = {
    name: 'echo',
    description: 'echo',
    version: '1',
    supportedInterfaces: [{ url: 'http://127.0.0.1', protocolBinding: 'JSONRPC', tenant: '', protocolVersion: '1.0' }],
    capabilities: { streaming: true, extensions: [] },
    defaultInputModes: [],
    defaultOutputModes: [],
    skills: [],
    securitySchemes: {},
    securityRequirements: [],
    signatures: [],
    provider: undefined,
  } satisfies AgentCard;
  const handler = new DefaultRequestHandler(card, new InMemoryTaskStore(), {
    execute: async ({ userMessage, contextId }, bus) => {
      const reply: Message = { ...userMessage, role: Role.ROLE_AGENT, messageId: randomUUID(), contextId };
      bus.publish(AgentEvent.message(reply));
    },
    cancelTask: async () => {},
  });
  const app = express();
  app.disable('x-powered-by');
  app.use(jsonRpcHandler({ requestHandler: handler, userBuilder: UserBuilder.noAuthentication }));
  const server = app.listen(0, '127.0.0.1');
  // As ours: making connections anew for every slice is not what is measured, and Node accepts one a turn of its loop.
  server.keepAliveTimeout = 65_000;
  await new Promise((resolve) => server.once('listening', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
