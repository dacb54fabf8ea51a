import { build } from './build.mjs';
import { ensureInstalled } from './ensure-installed.mjs';
import { ensureValkey } from './ensure-valkey.mjs';
import { run } from './lib/run.mjs';

process.exitCode = (await ensureInstalled()) || (await build()) || (await bench());

async function bench() {
  try {
    ensureValkey();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 1;
  }
  return run(process.execPath, ['--import', 'tsx', 'bench/bench.ts', ...process.argv.slice(2)]);
}
