/**
 * Waits for something, but no longer than so many milliseconds: then for what `late` answers, or throws. The work goes
 * on, and how it ends concerns nobody any more.
 * @param options `ref: false`: the wait does not keep the process alive
 */
export async function within<T, L>(ms: number, work: Promise<T>, late: () => L, { ref = true } = {}): Promise<T | L> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
    if (!ref) timer.unref();
  });
  try {
    return await Promise.race([work, patience.then(late)]);
  } finally {
    clearTimeout(timer);
  }
}
