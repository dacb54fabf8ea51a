import { readdirSync } from 'node:fs';
import { build } from './build.mjs';
import { ensureInstalled } from './ensure-installed.mjs';
import { inRoot } from './lib/paths.mjs';
import { runNode } from './lib/run.mjs';

const biome = inRoot('node_modules', '@biomejs', 'biome', 'bin', 'biome');
const tsc = inRoot('node_modules', 'typescript', 'bin', 'tsc');

/** @type {Record<string, () => Promise<number>>} */
const checks = {
  /** Lint rules, import directions and formatting. */
  lint: () => runNode(biome, ['check', '--error-on-warnings']),
  types,
  /** Not a check: brings every file into the common format. */
  format: () => runNode(biome, ['check', '--write']),
};

process.exitCode = await main(process.argv.slice(2));

/** @param {string[]} names */
async function main(names) {
  const unknown = names.filter((name) => !(name in checks));
  if (unknown.length > 0) {
    console.error(`no such check: ${unknown.join(', ')} (there are ${Object.keys(checks).join(', ')})`);
    return 2;
  }
  const installed = await ensureInstalled();
  if (installed !== 0) return installed;
  let failed = 0;
  for (const name of names.length > 0 ? names : ['lint', 'types']) {
    if ((await checks[name]?.()) !== 0) {
      failed = 1;
      console.error(`${name}: failed`);
    }
  }
  return failed;
}

/** Every TypeScript project of the repository; the examples and benchmarks import the package, so it is built first. */
async function types() {
  let failed = await build();
  for (const project of projects()) {
    const code = await runNode(tsc, ['-p', project, '--noEmit']);
    if (code !== 0) console.error(`type errors in ${project}`);
    failed ||= code;
  }
  return failed;
}

function projects() {
  const inTests = readdirSync(inRoot('test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => /(^|[\\/])tsconfig[^\\/]*\.json$/.test(path))
    .map((path) => `test/${path}`);
  return ['tsconfig.json', ...inTests.sort()];
}
