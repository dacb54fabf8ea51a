import { openStorage, type StorageOptions } from '../../../src/storage/open-storage.js';

/** Uses a storage and leaves it open; the process has to end by itself. */
const storage = await openStorage(JSON.parse(process.argv[2] as string) as StorageOptions);
const ids = Array.from({ length: 20 }, (_, i) => `idle ${i}`);
for (const id of ids) await storage.commit({ space: 'contexts', scope: [], id }, [{ op: 'touch' }]);
process.stdout.write('done\n');
