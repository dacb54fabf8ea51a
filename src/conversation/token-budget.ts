import { AgentUpError } from '../errors.js';
import { shownValue } from '../storage/changes.js';
import type { HistoryOptions, HistoryPage } from './conversation.js';
import type { Message } from './message.js';

/** Counts the tokens of one message, as the model that is to read it does. */
export type TokenCounter = (message: Message<unknown>) => number | Promise<number>;

/** Messages asked for at once. */
const PAGE = 50;
/** What a model's API adds to each message: its role, and what stands between two. */
const PER_MESSAGE = 4;

/**
 * The default counter: a guess without a tokenizer, of one token for every three and a half bytes of UTF-8, which for
 * most text is some more than there are. Where a limit is to be met exactly, count with the model's tokenizer.
 */
export function estimateTokens({ content, metadata }: Message<unknown>): number {
  const text = typeof content === 'string' ? content : (JSON.stringify(content) ?? '');
  const beside = metadata?.['toolCalls'];
  const bytes = Buffer.byteLength(text) + (beside === undefined ? 0 : Buffer.byteLength(JSON.stringify(beside)));
  return Math.ceil(bytes / 3.5) + PER_MESSAGE;
}

/**
 * The newest messages that together have at most `maxTokens`, oldest first. Reads pages from the end until one does
 * not fit; a message that is too long by itself ends it too.
 * @throws INVALID_ARGUMENT for a budget or a count that is no number from 0 on
 */
export async function withinTokens<Content>(
  { maxTokens, countTokens = estimateTokens, limit = Number.POSITIVE_INFINITY, before }: BudgetOptions,
  read: (options: HistoryOptions) => Promise<HistoryPage<Content>>,
): Promise<Message<Content>[]> {
  checkTokens(maxTokens, 'maxTokens');
  const fitting: Message<Content>[] = [];
  let left = maxTokens;
  for (let end = before; fitting.length < limit; ) {
    const page = await read({
      limit: Math.min(PAGE, limit - fitting.length),
      ...(end !== undefined && { before: end }),
    });
    for (const message of page.messages.toReversed()) {
      const tokens = await countTokens(message);
      checkTokens(tokens, 'countTokens');
      if (tokens > left) return fitting.reverse();
      left -= tokens;
      fitting.push(message);
    }
    if (page.messages.length === 0 || page.start <= page.dropped) break;
    end = page.start;
  }
  return fitting.reverse();
}

interface BudgetOptions extends HistoryOptions {
  readonly maxTokens: number;
  readonly countTokens?: TokenCounter;
}

function checkTokens(value: unknown, argument: string): void {
  if (typeof value === 'number' && value >= 0) return;
  throw new AgentUpError('INVALID_ARGUMENT', `${argument} is ${shownValue(value)}; a number from 0 on`, { argument });
}
