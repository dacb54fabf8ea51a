import { randomUUID } from 'node:crypto';
import { type Message, type Part, Role } from '@a2a-js/sdk';
import { isInputRequired } from '../../skill/input-required.js';
import type { TaskPart } from '../../skill/task.js';
import { inJson } from '../in-json.js';

/** A part as handlers see it: `text`, `data`, or a `file` as bytes or by its url. */
export function taskPartOf({ content, filename, mediaType, metadata }: Part): TaskPart {
  const common = {
    ...(mediaType && { mediaType }),
    ...(filename && { filename }),
    ...(metadata && Object.keys(metadata).length > 0 && { metadata }),
  };
  switch (content?.$case) {
    case 'text':
      return { kind: 'text', text: content.value, ...common };
    case 'data':
      return { kind: 'data', data: content.value as unknown, ...common };
    case 'raw':
      return { kind: 'file', bytes: Buffer.from(content.value), ...common };
    case 'url':
      return { kind: 'file', url: content.value, ...common };
    default:
      return { kind: 'empty', ...common };
  }
}

/** The parts of a reply: a text as text, a question as text and data, anything else that JSON can hold as data. */
export function partsOf(value: unknown): Part[] {
  if (isInputRequired(value)) {
    return [textPart(value.question), ...(value.data === undefined ? [] : [dataPart(value.data)])];
  }
  if (typeof value === 'string') return [textPart(value)];
  if (value === undefined || value === null) return [textPart('')];
  const json = inJson(value);
  return [typeof json === 'string' ? textPart(json) : dataPart(json)];
}

/** What the agent says, in a message of its own. */
export function agentMessage(parts: Part[], contextId: string, taskId: string): Message {
  return {
    messageId: randomUUID(),
    role: Role.ROLE_AGENT,
    contextId,
    taskId,
    parts,
    metadata: undefined,
    extensions: [],
    referenceTaskIds: [],
  };
}

function textPart(value: string): Part {
  return { content: { $case: 'text', value }, metadata: undefined, filename: '', mediaType: 'text/plain' };
}

function dataPart(value: unknown): Part {
  return { content: { $case: 'data', value }, metadata: undefined, filename: '', mediaType: 'application/json' };
}

/** Texts that follow each other as one part. */
export function joinTexts(parts: readonly Part[]): Part[] {
  const joined: Part[] = [];
  for (const part of parts) addPart(joined, part);
  return joined;
}

/** Adds a part to others, a text behind a text as one part with it. */
export function addPart(parts: Part[], part: Part): void {
  const last = parts.at(-1);
  if (last?.content?.$case === 'text' && part.content?.$case === 'text') {
    parts[parts.length - 1] = { ...last, content: { $case: 'text', value: last.content.value + part.content.value } };
  } else parts.push(part);
}
