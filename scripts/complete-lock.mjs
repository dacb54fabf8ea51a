/**
 * Completes `package-lock.json` with the optional packages for other platforms that npm left out. npm omits what the
 * registry it asked does not serve, and `npm ci` then refuses the lock file on every machine. To be run after any
 * change of dependencies; `test/package/lock-file.test.ts` says when it is due.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { missingPlatforms } from './lib/missing-platforms.mjs';
import { inRoot } from './lib/paths.mjs';

const file = inRoot('package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));
const missing = missingPlatforms(lock.packages);
const entries = Object.entries({ ...lock.packages, ...missing });
entries.sort(([a], [b]) => a.localeCompare(b, 'en'));
writeFileSync(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(entries) }, null, 2)}\n`);
console.log(`${Object.keys(missing).length} packages added`);
