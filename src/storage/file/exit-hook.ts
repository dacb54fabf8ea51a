const actions = new Set<() => void>();

/**
 * Has an action done when the process ends. One listener for all, however many storages there are.
 * @returns what takes it back
 */
export function atExit(action: () => void): () => void {
  if (actions.size === 0) process.on('exit', runAll);
  actions.add(action);
  return () => {
    actions.delete(action);
    if (actions.size === 0) process.off('exit', runAll);
  };
}

function runAll(): void {
  for (const action of actions) {
    try {
      action();
    } catch {
      // Nobody is left to be told; what is not done now is found out by the next process.
    }
  }
}
