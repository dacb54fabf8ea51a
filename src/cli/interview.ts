import { AgentUpError } from '../errors.js';
import type { Choice } from './prompts.js';
import type { Terminal } from './terminal.js';

/** The flags that decide whether questions are asked. */
export interface InterviewMode {
  readonly yes?: boolean | undefined;
  readonly json?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
}

interface Common<T> {
  /** How to answer without a prompt, for the message: `--url`. */
  readonly flag: string;
  readonly message: string;
  /** What the flag said. */
  readonly given?: T | undefined;
  /** Taken where nothing is given and nobody can be asked; without one the answer is owed. */
  readonly initial?: T | undefined;
}

export interface TextQuestion extends Common<string> {
  /** The sentence that says what is wrong, alone or with another that says what to do, or nothing. */
  readonly check?: (text: string) => string | { readonly message: string; readonly fix: string } | undefined;
}

export interface ChoiceQuestion extends Common<string> {
  readonly choices: readonly Choice[];
}

/**
 * Collects a command's answers: from the flag, else from a prompt where somebody can answer, else the default.
 * Every answer is checked by the same rule, wherever it came from.
 * @throws USAGE naming the flag, for an answer that is owed or wrong; CANCELLED from a prompt
 */
export class Interview {
  readonly #terminal: Terminal;
  #beforeAsking: (() => Promise<void>) | undefined;
  /** Can it ask? */
  readonly live: boolean;

  /** `beforeAsking` runs once, before the first prompt: it throws where no answer could help. */
  constructor(terminal: Terminal, mode: InterviewMode, beforeAsking?: () => Promise<void>) {
    this.#terminal = terminal;
    this.#beforeAsking = beforeAsking;
    this.live = terminal.interactive && !mode.yes && !mode.json && !mode.dryRun;
  }

  async text({ flag, message, given, initial, check }: TextQuestion): Promise<string> {
    if (given === undefined && this.live) {
      const ask = await this.#prompts();
      const validate =
        check &&
        ((text: string) => {
          const wrong = check(text) ?? true;
          return typeof wrong === 'object' ? `${wrong.message}; ${wrong.fix}` : wrong;
        });
      return ask({ kind: 'text', message, initial, ...(validate && { validate }) }, this.#terminal);
    }
    const answer = given ?? initial;
    if (answer === undefined) throw missing(flag);
    const wrong = check?.(answer);
    if (typeof wrong === 'object') throw usage(`${flag}: ${wrong.message}`, flag, wrong.fix);
    if (wrong !== undefined) throw usage(`${flag}: ${wrong}`, flag);
    return answer;
  }

  async choice<T extends string>({ flag, message, given, initial, choices }: ChoiceQuestion): Promise<T> {
    if (given === undefined && this.live) {
      const ask = await this.#prompts();
      return (await ask(
        { kind: 'select', message, choices, ...(initial !== undefined && { initial }) },
        this.#terminal,
      )) as T;
    }
    const answer = given ?? initial;
    if (answer === undefined) throw missing(flag);
    if (!choices.some(({ value }) => value === answer)) {
      const known = choices.map(({ value }) => value).join(', ');
      throw usage(`${flag}: ${JSON.stringify(answer)} is not one of ${known}`, flag);
    }
    return answer as T;
  }

  async confirm({ message, given, initial }: Common<boolean> & { readonly initial: boolean }): Promise<boolean> {
    if (given === undefined && this.live) {
      const ask = await this.#prompts();
      return ask({ kind: 'confirm', message, initial }, this.#terminal);
    }
    return given ?? initial;
  }

  async #prompts(): Promise<typeof import('./prompts.js').ask> {
    const check = this.#beforeAsking;
    this.#beforeAsking = undefined;
    await check?.();
    return (await import('./prompts.js')).ask;
  }
}

/** A mistake in how the command was called. */
export function usage(message: string, argument?: string, fix?: string): AgentUpError {
  return new AgentUpError('USAGE', message, {
    ...(argument !== undefined && { argument }),
    ...(fix !== undefined && { fix }),
  });
}

function missing(flag: string): AgentUpError {
  return new AgentUpError('USAGE', `${flag} is missing, and nobody can be asked here`, {
    argument: flag,
    fix: `pass ${flag}`,
  });
}
