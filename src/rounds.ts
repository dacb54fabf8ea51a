/**
 * Does something again and again, with a pause of `everyMs` between two rounds, until it is stopped. It does not keep
 * the process alive.
 * @param failed hears of a round that failed; the next one comes all the same, unless it answers `false`
 * @returns stops it, and waits for the round that runs
 */
export function rounds(
  everyMs: number,
  round: () => Promise<unknown>,
  failed: (error: unknown) => unknown,
): () => Promise<void> {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const run = async (): Promise<void> => {
    try {
      await round();
    } catch (error) {
      // Whoever stops it may have taken away what it needs.
      if (!stopped && failed(error) === false) stopped = true;
    }
    if (stopped) return;
    timer = setTimeout(() => {
      running = run();
    }, everyMs);
    timer.unref();
  };
  let running = run();
  return async () => {
    stopped = true;
    clearTimeout(timer);
    await running;
  };
}
