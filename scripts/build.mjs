import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureInstalled } from './ensure-installed.mjs';
import { withLock } from './lib/lock.mjs';
import { inRoot, isMain, scratch } from './lib/paths.mjs';
import { runNode } from './lib/run.mjs';

const source = inRoot('src');
const output = inRoot('dist');
const stamp = join(scratch, 'build.json');

/**
 * Compiles `src` into `dist`, with the Lua scripts beside the code that reads them and the configuration's JSON Schema
 * for editors. Does nothing when neither the sources nor the output changed since the last build. Every file is
 * replaced in one step and only when it differs, so a program that runs from `dist` meanwhile never meets half a file.
 * @returns {Promise<number>} the exit code of the compiler
 */
export async function build() {
  if (isFresh()) return 0;
  return withLock('build', async () => {
    if (isFresh()) return 0;
    const inputs = inputsDigest();
    const fresh = mkTemporary();
    const tsc = inRoot('node_modules', 'typescript', 'bin', 'tsc');
    const code = await runNode(tsc, ['-p', 'tsconfig.build.json', '--outDir', fresh]);
    if (code === 0) {
      copyLua(fresh);
      await writeSchema(fresh);
      replace(fresh);
      writeFileSync(stamp, JSON.stringify({ inputs, outputs: digest(output) }));
    }
    rmSync(fresh, { recursive: true, force: true });
    return code;
  });
}

/** @param {string} fresh */
function copyLua(fresh) {
  for (const file of filesIn(source).filter((name) => name.endsWith('.lua'))) {
    mkdirSync(dirname(join(fresh, file)), { recursive: true });
    copyFileSync(join(source, file), join(fresh, file));
  }
}

/** @param {string} fresh */
async function writeSchema(fresh) {
  const { configJsonSchema } = await import(pathToFileURL(join(fresh, 'config', 'json-schema.js')).href);
  writeFileSync(join(fresh, 'agent_config.schema.json'), `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
}

function isFresh() {
  if (!existsSync(stamp)) return false;
  const { inputs, outputs } = JSON.parse(readFileSync(stamp, 'utf8'));
  return inputs === inputsDigest() && outputs === digest(output);
}

function inputsDigest() {
  const hash = createHash('sha256').update(digest(source));
  for (const file of ['tsconfig.json', 'tsconfig.build.json', 'package.json', 'scripts/build.mjs']) {
    hash.update(readFileSync(inRoot(file)));
  }
  return hash.digest('hex');
}

/** @param {string} directory */
function digest(directory) {
  const hash = createHash('sha256');
  for (const file of filesIn(directory)) {
    const content = readFileSync(join(directory, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

function mkTemporary() {
  for (const name of readdirSync(scratch)) {
    if (name.startsWith('build-')) rmSync(join(scratch, name), { recursive: true, force: true });
  }
  const directory = join(scratch, `build-${process.pid}`);
  mkdirSync(directory);
  return directory;
}

/** @param {string} fresh  what `dist` shall hold */
function replace(fresh) {
  const wanted = filesIn(fresh);
  for (const file of wanted) {
    const target = join(output, file);
    const built = readFileSync(join(fresh, file));
    if (existsSync(target) && readFileSync(target).equals(built)) continue;
    mkdirSync(dirname(target), { recursive: true });
    renameSync(join(fresh, file), target);
  }
  for (const file of filesIn(output)) {
    if (!wanted.includes(file)) rmSync(join(output, file));
  }
  removeEmptyDirectories(output);
}

/** @param {string} directory */
function removeEmptyDirectories(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmptyDirectories(join(directory, entry.name));
  }
  if (readdirSync(directory).length === 0) rmSync(directory, { recursive: true });
}

/**
 * The files below a directory, as sorted paths relative to it.
 * @param {string} directory
 */
function filesIn(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => statSync(join(directory, path)).isFile())
    .map((path) => path.replaceAll('\\', '/'))
    .sort();
}

if (isMain(import.meta.url)) process.exitCode = (await ensureInstalled()) || (await build());
