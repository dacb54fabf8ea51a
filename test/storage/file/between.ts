import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** What reading makes. */
const READING = ['statSync', 'openSync', 'fstatSync', 'readSync', 'closeSync'] as const;

export interface Between {
  readonly steps?: readonly (keyof typeof fs)[];
  /** Before all from there on, too. */
  readonly onwards?: boolean;
  /** Left out of what is said. */
  readonly root?: string;
}

/** Runs `call`, and `meddle` before the `at`th of its file operations. Says which one that was, if there was one. */
export async function between(
  at: number,
  meddle: (first: boolean, step: string) => void,
  call: () => Promise<unknown>,
  { steps = READING, onwards = false, root = '' }: Between = {},
): Promise<string | undefined> {
  const real = Object.fromEntries(steps.map((step) => [step, fs[step]]));
  let met = 0;
  let found: string | undefined;
  for (const step of steps) {
    Object.assign(fs, {
      [step]: (...args: unknown[]) => {
        const first = met++ === at;
        if (first) found = `${step} ${String(args[0]).slice(root.length)}`;
        if (first || (onwards && met > at)) meddle(first, step);
        return (real[step] as (...args: unknown[]) => unknown)(...args);
      },
    });
  }
  syncBuiltinESMExports();
  try {
    await call();
  } finally {
    Object.assign(fs, real);
    syncBuiltinESMExports();
  }
  return found;
}

/** Runs `call` where no lock that is a file can be removed. */
export async function withoutReleasing(call: () => Promise<unknown>): Promise<void> {
  const { unlinkSync } = fs;
  fs.unlinkSync = (path) => {
    if (String(path).endsWith('.lock')) throw Object.assign(new Error('EIO: i/o error, unlink'), { code: 'EIO' });
    unlinkSync(path);
  };
  syncBuiltinESMExports();
  try {
    await call();
  } finally {
    fs.unlinkSync = unlinkSync;
    syncBuiltinESMExports();
  }
}
