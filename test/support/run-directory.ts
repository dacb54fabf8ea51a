import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

const PREFIX = 'agentup-tests-';

/**
 * Has all that the tests of a run put into the temporary directory lie in one directory of that run. It goes with this
 * process, however that ends: tests that are cut off, or only listed, clean up nothing.
 */
export function ownTemporaryDirectory(): void {
  // The configuration is read once more for each of its projects, and by a run within this one.
  if (basename(tmpdir()).startsWith(PREFIX)) return;
  const directory = mkdtempSync(join(tmpdir(), PREFIX));
  // Tests of what a user without rights meets must still come to their own directory in it.
  chmodSync(directory, 0o711);
  process.env['TMPDIR'] = directory;
  // The end of its input comes with the end of this process. What still runs then may make files for a moment.
  const script = `
    trap '' INT TERM HUP
    read -r _
    for _ in 1 2 3 4 5; do rm -rf "$1" && exit; sleep 1; done`;
  const watchdog = spawn('/bin/sh', ['-c', script, 'watchdog', directory], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watchdog.unref();
  if ('unref' in watchdog.stdin && typeof watchdog.stdin.unref === 'function') watchdog.stdin.unref();
}
