import type { Message } from '../../conversation/message.js';
import type { Style } from '../style.js';
import { shownLines } from './texts.js';

/** A message as a chat shows it: who, when, and what below it, indented. */
export function messageText({ role, content, timestamp, metadata }: Message<unknown>, style: Style): string {
  const tones = { user: style.cyan, assistant: style.green, system: style.yellow, tool: style.dim };
  const tone = tones[role] ?? style.dim;
  const text = typeof content === 'string' ? content : JSON.stringify(content, null, 2);
  const head = `${tone(style.bold(shownLines(String(role)).join(' ')))} ${style.dim(shownLines(String(timestamp)).join(' '))}`;
  const tail = metadata === undefined ? [] : [style.dim(shownLines(JSON.stringify(metadata)).join(' '))];
  return [head, ...[...shownLines(text), ...tail].map((line) => `  ${line}`)].join('\n');
}
