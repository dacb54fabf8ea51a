import { setTimeout as delay } from 'node:timers/promises';
import { inputRequired } from '../../src/skill/input-required.js';
import { withState } from '../../src/skill/with-state.js';

/**
 * Handlers that the tests of the server talk to; each message goes to the one its first word names. An agent loads
 * this file by itself, so what it shares with the tests lies where both find it.
 */
export const shared = ((globalThis as { testedSkills?: Shared }).testedSkills ??= {
  log: [],
  open: () => {},
  opened: Promise.resolve(),
});

interface Shared {
  readonly log: string[];
  /** Lets go what hangs. */
  open: () => void;
  opened: Promise<void>;
}

/** What hangs, from here on hangs until `shared.open()`. */
export function closeGate(): void {
  shared.opened = new Promise((resolve) => {
    shared.open = resolve;
  });
}

export const count = withState(async function count(task, context, id) {
  return `${await context.incrementVariable(id, 'n')} ${task.userId ?? 'nobody'}`;
});

export const slow = withState(async function slow(task, context, id) {
  const before = await context.getVariable<string>(id, 'said', '');
  await delay(20);
  await context.setVariable(id, 'said', `${before}${task.text.split(' ')[1]}`);
  return context.getVariable<string>(id, 'said', '');
});

export const pizza = withState(async function pizza(task, context, id) {
  if (!(await context.getVariable(id, 'asked'))) {
    await context.setVariable(id, 'asked', true);
    return inputRequired('Which size?', ['S', 'L']);
  }
  await context.deleteVariable(id, 'asked');
  return { size: task.text };
});

export const story = withState(async function* story(task, context, id) {
  await context.incrementVariable(id, 'stories');
  yield 'once ';
  await shared.opened;
  yield 'upon';
  if (task.text.includes('fail')) throw new Error('secret of the story');
});

export const boom = withState(async function boom(): Promise<never> {
  throw new Error('secret: /etc/passwd');
});

export const hang = withState(async function hang(_task, context, id) {
  await context.setVariable(id, 'hung', true);
  shared.log.push(`hang ${id}`);
  await shared.opened;
  return 'let go';
});

export const echo = withState(async function echo(task) {
  const file = task.parts?.find(({ kind }) => kind === 'file');
  return {
    parts: task.parts?.map(({ kind }) => kind),
    bytes: Buffer.isBuffer(file?.['bytes']) && file['bytes'].length,
    name: file?.['filename'],
  };
});

/** As many chunks as the message says, without ever waiting. */
export const flood = withState(async function* flood(task, context, id) {
  await context.incrementVariable(id, 'floods');
  for (let n = 0; n < Number(task.text.split(' ')[1]); n++) yield `${n} `;
});

/** What JSON cannot hold, or only as something else. */
export const odd = withState(async function odd(task) {
  const cyclic: Record<string, unknown> = Object.create(null);
  cyclic['self'] = cyclic;
  const values: Record<string, unknown> = {
    bigint: 10n,
    cyclic,
    function: () => 'secret',
    map: new Map([['a', new Set([1, 2])]]),
  };
  const name = task.text.split(' ')[1] ?? '';
  return name === 'web' ? new Blob(['once ', 'upon']).stream() : values[name];
});

export const names = ['count', 'slow', 'pizza', 'story', 'boom', 'hang', 'echo', 'flood', 'odd'];
