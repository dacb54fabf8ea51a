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
  const [name = 'turn'] = process.argv.slice(2);
  return run(process.execPath, ['--import', 'tsx', `bench/${name}.ts`]);
}
