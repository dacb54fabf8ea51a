import { homedir } from 'node:os';
import { join } from 'node:path';
import { findExecutable } from './find-executable.mjs';
import { osRelease } from './os-release.mjs';

/**
 * Where a `valkey-server` fetched for the tests is kept, one directory per distribution release and architecture.
 * @returns {string}
 */
export function valkeyCache() {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const { ID = process.platform, VERSION_ID = 'rolling' } = osRelease();
  return join(cache, 'agentup', `valkey-${ID}-${VERSION_ID}-${process.arch}`);
}

/**
 * The `valkey-server` to run: the one on the PATH, else the one fetched earlier.
 * @returns {string | undefined}
 */
export function findValkeyServer() {
  return findExecutable('valkey-server') ?? findExecutable('valkey-server', { PATH: join(valkeyCache(), 'bin') });
}

/** What to tell someone who has no `valkey-server`. */
export const VALKEY_ADVICE = `The tests run against a real Valkey and found no valkey-server. Install one:
  Debian 13, Ubuntu 24.04 and later   apt-get install valkey-server
  Debian 12                           the package valkey-server from the backports suite
  Fedora, RHEL and relatives          dnf install valkey
  Alpine                              apk add valkey
  Arch                                pacman -S valkey
  macOS                               brew install valkey
  Windows                             run the tests inside WSL
or set AGENTUP_TEST_VALKEY_URL (valkey://host:port) to a server the tests may write to; the tests that stop and
start a server of their own need the program all the same.`;
