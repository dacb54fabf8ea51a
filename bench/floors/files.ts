import { appendFileSync, closeSync, fdatasync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Subject } from '../subject.js';
import { line } from '../turn-data.js';
import { APPEND_FLOOR, SYNC_FLOOR } from './names.js';

const sync = promisify(fdatasync);

/** The least that writes a turn down: its bytes at the end of a file. Reads nothing, so it counts nothing either. */
function writing(name: string, file: string, write: (descriptor: number, path: string) => Promise<void>): Subject {
  return {
    name,
    kind: 'file',
    flat: true,
    shared: false,
    async open({ directory }) {
      const path = join(directory, file);
      const descriptor = openSync(path, 'a');
      return {
        seed: async () => {},
        turn: async () => {
          await write(descriptor, path);
          return Number.NaN;
        },
        close: async () => closeSync(descriptor),
      };
    },
  };
}

export const subjects = [
  writing(APPEND_FLOOR, 'floor-append.log', async (_descriptor, path) => appendFileSync(path, line())),
  writing(SYNC_FLOOR, 'floor-sync.log', async (descriptor) => {
    writeSync(descriptor, line());
    await sync(descriptor);
  }),
  writing('floor: one writeSync + fdatasyncSync', 'floor-sync-blocking.log', async (descriptor) => {
    writeSync(descriptor, line());
    fdatasyncSync(descriptor);
  }),
];
