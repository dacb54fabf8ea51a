import type { Layer } from './layers.js';

/** How long a reader may take nothing of what waits for it, in milliseconds: as long as proxies let theirs. */
const STALLED_MS = 60_000;

/**
 * Closes the connection of a reader that takes nothing of its answer: what waits there would take memory for as long as
 * the reader likes, for each of its streams anew. A stream on which nothing is said stays open, a slow reader as well.
 */
export const dropStalled: Layer = (_request, response, next) => {
  response.setTimeout(STALLED_MS, () => {
    if (response.writableLength > 0) response.destroy();
  });
  next();
};
