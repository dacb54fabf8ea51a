import type { Logger } from '../logger.js';

/**
 * Keeps a server alive where a handler has forgotten an `await`: Node ends a process for a promise that fails and that
 * nobody waits for, and with it the turns of everybody else.
 */
export function logStrayRejections(logger: Logger): void {
  process.on('unhandledRejection', (error) => {
    logger.error(error, 'a promise that nobody waited for failed; is an await missing in a handler?');
  });
}
