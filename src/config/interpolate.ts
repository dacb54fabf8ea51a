import type { FindingCode } from './finding.js';

/** What `${NAME}` refers to. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface InterpolationProblem {
  readonly code: Extract<FindingCode, 'ENV_UNSET' | 'ENV_SYNTAX' | 'ENV_DASH'>;
  readonly message: string;
  readonly fix: string;
  /** The piece of the text it is about. */
  readonly piece: string;
}

export interface Interpolated {
  readonly text: string;
  /** Something was replaced: the text comes from the environment or from a default. */
  readonly replaced: boolean;
  readonly problems: readonly InterpolationProblem[];
}

const NAME = /[A-Za-z_]\w*/y;
const MAX_DEPTH = 20;

/**
 * Replaces `${NAME}` and `${NAME:default}` in a text, and `$${` by `${`. A variable that is set to the empty text is
 * set. A default goes up to the `}` that closes it, may be empty, and may hold `:` and further `${…}`, which count
 * only when the default does. What cannot be replaced stays as it is, with a problem.
 */
export function interpolate(text: string, env: Environment): Interpolated {
  if (!text.includes('${')) return { text, replaced: false, problems: [] };
  const run = new Interpolation(text, env);
  return { text: run.upTo(undefined, 0), replaced: run.replaced, problems: run.problems };
}

/** The same text for a configuration, where it means itself. */
export function escapeInterpolation(text: string): string {
  // Not as a plain replacement text, where `$$` means one `$`.
  return text.replaceAll('${', () => '$${');
}

class Interpolation {
  readonly problems: InterpolationProblem[] = [];
  replaced = false;
  readonly #text: string;
  readonly #env: Environment;
  #at = 0;
  /** Inside a default that is not needed: nothing there is missed. */
  #idle = 0;

  constructor(text: string, env: Environment) {
    this.#text = text;
    this.#env = env;
  }

  /** The text from here up to the closing brace, or to the end. */
  upTo(end: '}' | undefined, depth: number): string {
    let out = '';
    while (this.#at < this.#text.length) {
      if (this.#text.startsWith('$${', this.#at)) {
        out += '${';
        this.#at += 3;
      } else if (this.#text.startsWith('${', this.#at)) {
        out += this.#reference(depth);
      } else if (this.#text[this.#at] === end) {
        break;
      } else {
        out += this.#text[this.#at++];
      }
    }
    return out;
  }

  #reference(depth: number): string {
    const start = this.#at;
    NAME.lastIndex = start + 2;
    const name = NAME.exec(this.#text)?.[0] ?? '';
    this.#at = start + 2 + name.length;
    const next = this.#text[this.#at];
    if (name === '' || (next !== '}' && next !== ':') || depth >= MAX_DEPTH) return this.#malformed(start);
    if (next === '}') {
      this.#at++;
      return this.#valueOf(name, start);
    }
    this.#at++;
    const given = this.#given(name);
    const defaultStart = this.#at;
    if (given !== undefined) this.#idle++;
    const fallback = this.upTo('}', depth + 1);
    if (given !== undefined) this.#idle--;
    if (this.#text[this.#at] !== '}') return this.#unclosed(start);
    const written = this.#text.slice(defaultStart, this.#at++);
    if (/^-(?!\d+(\.\d+)?$)/.test(written)) {
      this.#add({
        code: 'ENV_DASH',
        message: `the default of \${${name}:…} begins with a dash, which becomes part of it`,
        fix: `write \${${name}:default}, without the dash`,
        piece: this.#text.slice(start, this.#at),
      });
    }
    this.replaced = true;
    return given ?? fallback;
  }

  #valueOf(name: string, start: number): string {
    const given = this.#given(name);
    if (given !== undefined) {
      this.replaced = true;
      return given;
    }
    this.#add({
      code: 'ENV_UNSET',
      message: `the environment variable ${name} is not set`,
      fix: `set ${name}, or give a default: \${${name}:default}`,
      piece: this.#text.slice(start, this.#at),
    });
    return this.#text.slice(start, this.#at);
  }

  #given(name: string): string | undefined {
    return Object.hasOwn(this.#env, name) ? this.#env[name] : undefined;
  }

  #malformed(start: number): string {
    if (!this.#text.includes('}', start)) return this.#unclosed(start);
    this.#syntax(
      'what stands between `${` and `}` is neither NAME nor NAME:default; a NAME is letters, digits and _',
      this.#text.slice(start, this.#text.indexOf('}', start) + 1),
    );
    // Only past this one, so that further ones in the text are found too.
    this.#at = start + 2;
    return '${';
  }

  #unclosed(start: number): string {
    this.#syntax('a `${` has no closing `}`', this.#text.slice(start));
    this.#at = this.#text.length;
    return this.#text.slice(start);
  }

  #syntax(message: string, piece: string): void {
    this.#add({
      code: 'ENV_SYNTAX',
      message,
      fix: 'write ${NAME} or ${NAME:default}, or $${ for the characters themselves; put the value in quotes',
      piece,
    });
  }

  #add(problem: InterpolationProblem): void {
    if (this.#idle > 0 && problem.code === 'ENV_UNSET') return;
    if (!this.problems.some(({ message }) => message === problem.message)) this.problems.push(problem);
  }
}
