import { type Style, styleFor, wantsColour } from './style.js';

type Input = NodeJS.ReadStream;
type Sink = NodeJS.WriteStream;

/** Where a command runs: its streams, its directory, its environment. */
export interface TerminalOptions {
  readonly stdin: Input;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute path. */
  readonly cwd: string;
}

/** What a command speaks to: results go to stdout, everything else to stderr. */
export class Terminal {
  readonly stdin: Input;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Colours for results. */
  readonly style: Style;
  /** Colours for diagnostics. */
  readonly noteStyle: Style;

  constructor(options: TerminalOptions) {
    this.stdin = options.stdin;
    this.stdout = options.stdout;
    this.stderr = options.stderr;
    this.env = options.env;
    this.cwd = options.cwd;
    this.style = styleFor(wantsColour(options.stdout, options.env));
    this.noteStyle = styleFor(wantsColour(options.stderr, options.env));
  }

  /** Is somebody there to answer? Both ends are a terminal and `CI` is not set. */
  get interactive(): boolean {
    const ci = this.env['CI'];
    const inCi = ci !== undefined && ci !== '' && ci !== '0' && ci !== 'false';
    return this.stdin.isTTY === true && this.stdout.isTTY === true && !inCi;
  }

  /** A line of the result. */
  result(text: string): void {
    this.stdout.write(`${text}\n`);
  }

  /** The whole result, as JSON. */
  json(value: unknown): void {
    this.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** A value on one line, for results that come one by one. */
  jsonLine(value: unknown): void {
    this.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** A line of diagnostics. */
  note(text: string): void {
    this.stderr.write(`${text}\n`);
  }
}
