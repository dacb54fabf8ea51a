import { installPeers } from './bench-peers.mjs';
import { build } from './build.mjs';
import { ensureInstalled } from './ensure-installed.mjs';
import { ensureValkey } from './ensure-valkey.mjs';
import { run } from './lib/run.mjs';

const args = process.argv.slice(2);
process.exitCode = (await ensureInstalled()) || (await peers()) || (await build()) || (await bench());

async function peers() {
  return args.includes('--peers') ? installPeers() : 0;
}

async function bench() {
  try {
    ensureValkey();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 1;
  }
  return run(process.execPath, ['--expose-gc', '--import', 'tsx', 'bench/bench.ts', ...args]);
}
