import type { RequestListener } from 'node:http';
import express from 'express';
import type { Agent } from '../../agent/agent.js';
import { checkAgent } from '../../agent/check-agent.js';
import { type Logger, silentLogger } from '../../logger.js';
import { dropStalled } from '../stalled.js';
import { conversationRoutes } from './conversation-routes.js';

/**
 * The conversation API for a server of your own, below `/api/v1`: a listener for `node:http`, or mounted in an
 * express application. The agent stays yours to close.
 * @throws INVALID_ARGUMENT for what is no agent; CONFIG_INVALID where no key is configured
 */
export function createConversationApi(
  agent: Agent,
  { logger = silentLogger }: { readonly logger?: Logger | undefined } = {},
): RequestListener {
  checkAgent(agent, 'createConversationApi()');
  const app = express();
  app.disable('x-powered-by');
  app.use(dropStalled, conversationRoutes(agent, logger));
  return app;
}
