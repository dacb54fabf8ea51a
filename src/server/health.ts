import { type RequestHandler, Router } from 'express';
import type { Agent } from '../agent/agent.js';

/** `/healthz`: the process answers. `/readyz`: it takes work, and its storage can be reached. For whoever asks. */
export function healthRoutes(agent: Agent, isStopping: () => boolean): RequestHandler {
  const router = Router();
  router.get('/healthz', (_request, response) => {
    response.json({ status: 'ok' });
  });
  router.get('/readyz', async (_request, response) => {
    const problem = isStopping() ? 'stopping' : await storageProblem(agent);
    response.status(problem ? 503 : 200).json({ status: problem ?? 'ready' });
  });
  return router;
}

async function storageProblem({ context }: Agent): Promise<string | undefined> {
  try {
    await context.storage.ping();
    return undefined;
  } catch {
    return 'storage unavailable';
  }
}
