/** Migrates until it is done, or until somebody kills it. Prints `done` with the report. */
import { type MigrateOptions, migrate } from '../../src/operations/index.js';
import { openStorage, type StorageOptions } from '../../src/storage/open-storage.js';
import { conversations } from './records.js';

interface Args {
  readonly from: StorageOptions | { readonly conversations: number; readonly startedAt: number };
  readonly to: StorageOptions;
  readonly options?: MigrateOptions;
}

const { from, to, options } = JSON.parse(process.argv[2] ?? '') as Args;
const source = 'backend' in from ? await openStorage(from) : await conversations(from.conversations, from.startedAt);
const target = await openStorage(to);
console.log('ready');
const started = performance.now();
const report = await migrate(source, target, options);
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ ...report, seconds }));
await Promise.all([source.close(), target.close()]);
