/** Uses caches on a backend, closes them, and tells how long the process needed to end by itself. */
import { createCacheFactory } from '../../src/caches/index.js';

const { backend, options } = JSON.parse(process.argv[2] ?? '') as { backend: string; options: object };
const factory = await createCacheFactory(backend, options);
const { stateCache, tableCache, expiry } = factory.for('t', 'u');
await stateCache.set('flow', { n: 1 }, { ttl: 60 });
await tableCache.table('rows', undefined, { indexes: ['n'], versioned: true }).set('k', { n: 1 });
await expiry.set('later', 'x', { ttl: 60 });
const stop = expiry.onExpired('later', () => {});
await stop();
await factory.close();
const done = performance.now();
process.on('exit', () => console.log(String(performance.now() - done)));
