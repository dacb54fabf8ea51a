import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { isAgentUpError } from '../../../src/errors.js';
import { FileStorage } from '../../../src/storage/file/file-storage.js';

/** What a test has another process do, one line each; a line says how it went. A storage stays open until `close`. */
export interface Command {
  readonly directory: string;
  readonly id: string;
  readonly act: 'commit' | 'turn' | 'begin' | 'finish' | 'ping' | 'close';
  /** A file that appears when it is done: for one who stands still, and reads no lines. */
  readonly sign?: string;
}

const storages = new Map<string, FileStorage>();
const begun = new Map<string, number>();

async function act({ directory, id, act: what }: Command): Promise<string> {
  const key = { space: 'contexts', scope: [], id };
  const storage = storages.get(directory) ?? new FileStorage({ storageDir: directory });
  storages.set(directory, storage);
  const token = `worker-${process.pid}`;
  const begin = async (): Promise<void> => {
    for (;;) {
      const answer = await storage.begin(key, { token, leaseMs: 60_000 });
      if (!answer.busy) return void begun.set(directory, Number(answer.record?.fields.get('turns') ?? 0));
      await delay(Math.min(answer.retryAfterMs, 5));
    }
  };
  const commit = (turns?: number) =>
    storage.commit(
      key,
      [
        { op: 'increment', field: 'n', by: 1 },
        { op: 'log', entry: '"worker"' },
        ...(turns === undefined ? [] : [{ op: 'set' as const, field: 'turns', value: String(turns) }]),
      ],
      turns === undefined ? {} : { lease: { token } },
    );
  try {
    if (what === 'ping') await storage.ping();
    if (what === 'commit') await commit();
    if (what === 'begin' || what === 'turn') await begin();
    if (what === 'finish' || what === 'turn') await commit((begun.get(directory) ?? 0) + 1);
    if (what === 'close') {
      storages.delete(directory);
      await storage.close();
    }
    return 'done';
  } catch (error) {
    return isAgentUpError(error) ? `${error.code} ${error.message}` : String(error);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command;
  void act(command).then((answer) => {
    if (command.sign) writeFileSync(command.sign, answer);
    process.stdout.write(`${answer}\n`);
  });
}
