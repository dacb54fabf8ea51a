import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { ensureInstalled } from './ensure-installed.mjs';
import { ensureValkey } from './ensure-valkey.mjs';
import { inRoot, scratch } from './lib/paths.mjs';
import { runNode } from './lib/run.mjs';
import { countTests, summaryLine } from './lib/test-report.mjs';
import { findValkeyServer, VALKEY_ADVICE } from './lib/valkey-binary.mjs';

const NO_PRIVATE_SERVER = `The shared server is the one AGENTUP_TEST_VALKEY_URL names, and nothing is fetched. The tests that
stop and start a server of their own will fail.`;

const { code, counts } = await main(process.argv.slice(2));
console.log(summaryLine(counts));
process.exitCode = code;

/** @param {string[]} args  passed on to vitest */
async function main(args) {
  const prepared = await prepare();
  if (prepared !== 0) return { code: prepared, counts: countTests(undefined, prepared) };
  mkdirSync(scratch, { recursive: true });
  const report = join(scratch, `test-report-${process.pid}.json`);
  try {
    const vitest = inRoot('node_modules', 'vitest', 'vitest.mjs');
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const ended = await runNode(vitest, ['run', ...reporters, ...args]);
    const counts = countTests(read(report), ended);
    return { code: ended !== 0 || counts.failed === 0 ? ended : 1, counts };
  } finally {
    rmSync(report, { force: true });
  }
}

async function prepare() {
  const ready = (await ensureInstalled()) || (await build());
  if (ready !== 0) return ready;
  try {
    if (!process.env['AGENTUP_TEST_VALKEY_URL']) ensureValkey();
    else if (findValkeyServer() === undefined) console.error(`${NO_PRIVATE_SERVER}\n${VALKEY_ADVICE}\n`);
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 1;
  }
}

/** @param {string} file */
function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
