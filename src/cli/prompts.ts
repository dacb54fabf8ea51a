import inquirer from 'inquirer';
import { AgentUpError } from '../errors.js';
import type { Terminal } from './terminal.js';

/** One choice of a `select`. */
export interface Choice {
  readonly value: string;
  readonly name: string;
  readonly description?: string;
}

/** `validate` answers `true`, or the sentence that says what is wrong. */
export type Prompt =
  | {
      readonly kind: 'text';
      readonly message: string;
      readonly initial?: string | undefined;
      readonly validate?: (text: string) => true | string;
    }
  | { readonly kind: 'confirm'; readonly message: string; readonly initial: boolean }
  | {
      readonly kind: 'select';
      readonly message: string;
      readonly initial?: string;
      readonly choices: readonly Choice[];
    };

/**
 * Asks on the terminal.
 * @throws CANCELLED on Ctrl-C, on Ctrl-D, and when standard input ends
 */
export async function ask(prompt: Extract<Prompt, { kind: 'confirm' }>, terminal: Terminal): Promise<boolean>;
export async function ask(prompt: Exclude<Prompt, { kind: 'confirm' }>, terminal: Terminal): Promise<string>;
export async function ask(prompt: Prompt, terminal: Terminal): Promise<string | boolean> {
  const { stdin, stdout } = terminal;
  const closed = new AbortController();
  // A closed input leaves the library's promise pending for ever; closing pauses the stream, and so does answering.
  const onPause = (): void => void setImmediate(() => closed.abort());
  stdin.on('pause', onPause);
  stdin.on('error', onPause);
  try {
    const module = inquirer.createPromptModule({ input: stdin, output: stdout, signal: closed.signal });
    const { answer } = await module<{ answer: string | boolean }>([question(prompt)]);
    return answer;
  } catch (error) {
    if (error instanceof Error && /^(ExitPrompt|AbortPrompt|CancelPrompt)Error$/.test(error.name)) {
      throw new AgentUpError('CANCELLED', 'cancelled; nothing was written', { cause: error });
    }
    throw error;
  } finally {
    stdin.off('pause', onPause);
    stdin.off('error', onPause);
  }
}

function question(prompt: Prompt) {
  const { message } = prompt;
  switch (prompt.kind) {
    case 'text':
      return {
        type: 'input' as const,
        name: 'answer' as const,
        message,
        ...(prompt.initial !== undefined && { default: prompt.initial }),
        ...(prompt.validate && { validate: prompt.validate }),
      };
    case 'confirm':
      return { type: 'confirm' as const, name: 'answer' as const, message, default: prompt.initial };
    case 'select':
      return {
        type: 'select' as const,
        name: 'answer' as const,
        message,
        choices: [...prompt.choices],
        ...(prompt.initial !== undefined && { default: prompt.initial }),
      };
  }
}
