import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { decodeMessages, encodeMessage } from '../../../src/conversation/message.js';
import { parseRecord } from '../../../src/storage/valkey/record-codec.js';

const key = { space: 'contexts', scope: [], id: 'a' };
const clock = { now: () => 0 };

function replyOf(entries: readonly string[]): unknown {
  const system = `1 0 0 ${entries.length} 0 - 0 `;
  return [[Buffer.from(''), Buffer.from(system)], Buffer.from(entries.join('\n'))];
}

it.each([1, 2, 1_000])('reads %i entries', (count) => {
  const entries = Array.from({ length: count }, (_, i) => encodeMessage('user', `ünïcode ${i} 🦦`, undefined, clock));
  expect(parseRecord(replyOf(entries), key)?.log).toEqual(entries);
});

it('lets go of a long snapshot of which somebody keeps a message', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const entries = Array.from({ length: 1_000 }, (_, i) =>
    encodeMessage('user', `${i} ${'x'.repeat(300)}`, undefined, clock),
  );
  const kept: string[] = [];
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let turn = 0; turn < 200; turn++) {
    const [message] = decodeMessages<string>(parseRecord(replyOf(entries), key)?.log.slice(-1) ?? []);
    if (message) kept.push(message.content);
  }
  collect();
  const grown = process.memoryUsage().heapUsed - before;
  expect(kept).toHaveLength(200);
  // All of the snapshots together would be 70 MB.
  expect(grown).toBeLessThan(15_000_000);
});
