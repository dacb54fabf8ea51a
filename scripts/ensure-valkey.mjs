import { fetchValkeyWithApt, hasApt } from './lib/apt-valkey.mjs';
import { isMain } from './lib/paths.mjs';
import { findValkeyServer, VALKEY_ADVICE, valkeyCache } from './lib/valkey-binary.mjs';

/**
 * Makes sure that the tests have a real `valkey-server` to start: the one on the PATH, or one fetched with apt into
 * the user's cache directory. Throws with what to install where neither can be had.
 * @returns {string} the program's path
 */
export function ensureValkey() {
  const found = findValkeyServer();
  if (found !== undefined) return found;
  if (!hasApt()) throw new Error(VALKEY_ADVICE);
  console.log(`no valkey-server on the PATH: fetching one with apt-get into ${valkeyCache()}`);
  try {
    fetchValkeyWithApt(valkeyCache());
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${VALKEY_ADVICE}`);
  }
  const fetched = findValkeyServer();
  if (fetched === undefined) throw new Error(VALKEY_ADVICE);
  return fetched;
}

if (isMain(import.meta.url)) {
  try {
    console.log(ensureValkey());
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
