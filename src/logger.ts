import { inspect } from 'node:util';
import { redactText } from './redact.js';

/**
 * Where the library reports what it cannot return: `console` and pino fit as they are. It is given one text, or what
 * the text is about (an error, an object) and then the text, as pino wants it.
 */
export interface Logger {
  debug(...args: unknown[]): void;
  info(...args: unknown[]): void;
  warn(...args: unknown[]): void;
  error(...args: unknown[]): void;
  /** Is this level shown? Where it says so of `debug`, every call of a storage is reported; pino has it. */
  isLevelEnabled?(level: string): boolean;
}

const silent = (): void => {};

/** Says nothing. The default of a library: it never prints unless asked. */
export const silentLogger: Logger = {
  debug: silent,
  info: silent,
  warn: silent,
  error: silent,
  isLevelEnabled: () => false,
};

/** Errors with all they say, passwords in them hidden. */
function shown(value: unknown): string {
  // Callers choose ids, and those must not look like a line of their own.
  if (typeof value === 'string') return value.replace(/\p{Cc}/gu, escaped);
  if (value instanceof Error) return inspected(value);
  try {
    return JSON.stringify(value) ?? inspected(value);
  } catch {
    // Anything can be thrown, and then is logged: a BigInt, a cycle.
    return inspected(value);
  }
}

function inspected(value: unknown): string {
  // Over several lines, but none that a terminal obeys.
  return redactText(inspect(value)).replace(/(?![\n\t])\p{Cc}/gu, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * Writes to standard error, from `level` on. The CLI uses it with the level in `AGENTUP_LOG`
 * (`debug`, `info`, `warn`, `error`, `silent`; default `warn`).
 */
export function stderrLogger(level: string = process.env['AGENTUP_LOG'] ?? 'warn'): Logger {
  const order = ['debug', 'info', 'warn', 'error'];
  const from = level === 'silent' ? order.length : Math.max(order.indexOf(level), 0);
  const writer =
    (name: string, rank: number) =>
    (...args: unknown[]): void => {
      if (rank < from) return;
      // The sentence first, as people read it.
      const [about, ...rest] = args;
      const texts = typeof about === 'string' ? args : [...rest, about];
      const text = texts.map(shown).join(' ');
      process.stderr.write(`${name}: ${text}\n`);
    };
  return {
    debug: writer('debug', 0),
    info: writer('info', 1),
    warn: writer('warn', 2),
    error: writer('error', 3),
    isLevelEnabled: (name) => order.indexOf(name) >= from,
  };
}

/**
 * Where every call of a storage is reported; nowhere unless somebody asks. A logger that cannot tell its level, such
 * as `console`, is asked by `AGENTUP_LOG=debug`, and so is standard error where there is no logger.
 */
export function operationsLogger(logger: Logger | undefined): Logger | undefined {
  const wanted = process.env['AGENTUP_LOG'] === 'debug';
  if (!logger) return wanted ? stderrLogger('debug') : undefined;
  return (logger.isLevelEnabled ? logger.isLevelEnabled('debug') : wanted) ? logger : undefined;
}
