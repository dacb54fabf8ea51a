import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { deriveAptSources } from './apt-sources.mjs';
import { findExecutable } from './find-executable.mjs';
import { osRelease } from './os-release.mjs';

/** Whether this machine's packages come from apt. */
export function hasApt() {
  return ['apt-get', 'dpkg-deb'].every((name) => findExecutable(name) !== undefined);
}

/**
 * Fetches `valkey-server` and the libraries it lacks with apt and unpacks them into `target`. Nothing is installed:
 * the system's packages, sources and services stay as they are, and no rights beyond the caller's are needed.
 * @param {string} target  becomes a directory with `bin/valkey-server`
 */
export function fetchValkeyWithApt(target) {
  mkdirSync(dirname(target), { recursive: true });
  const work = mkdtempSync(`${target}.`);
  try {
    const archives = download(work);
    for (const archive of archives) run('dpkg-deb', ['-x', archive, join(work, 'root')]);
    writeLauncher(work, target);
    rmSync(join(work, 'apt'), { recursive: true, force: true });
    // A broken leftover makes way; a whole one that another process put there meanwhile is as good as ours.
    if (!works(target)) rmSync(target, { recursive: true, force: true });
    try {
      renameSync(work, target);
    } catch (error) {
      if (!works(target)) throw error;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  run(join(target, 'bin', 'valkey-server'), ['--version']);
}

/** @param {string} work */
function download(work) {
  const apt = join(work, 'apt');
  const parts = join(apt, 'sources');
  for (const path of [parts, join(apt, 'lists', 'partial'), join(apt, 'cache', 'archives', 'partial')]) {
    mkdirSync(path, { recursive: true });
  }
  const { ID, VERSION_ID, VERSION_CODENAME = '' } = osRelease();
  // Debian 12 is the one release that has Valkey only in its backports suite.
  const release = {
    suites: [VERSION_CODENAME, 'stable', 'oldstable', 'oldoldstable'].filter((name) => name !== ''),
    backports: ID === 'debian' && VERSION_ID === '12',
  };
  for (const file of deriveAptSources(machineSources(), release)) writeFileSync(join(parts, file.name), file.text);
  const options = [
    'Dir::Etc::sourcelist=/dev/null',
    `Dir::Etc::sourceparts=${parts}`,
    `Dir::State::lists=${join(apt, 'lists')}`,
    `Dir::Cache=${join(apt, 'cache')}`,
    'Acquire::Languages=none',
    'Acquire::Retries=3',
    // The directories are private and the system's own state is only read, so there is nothing to lock or to sandbox.
    'Debug::NoLocking=true',
    'APT::Sandbox::User=root',
    'APT::Get::AllowUnauthenticated=false',
  ].flatMap((option) => ['-o', option]);
  // One unreachable third-party source must not be the end of it: whether Valkey can be had shows in the next step.
  const update = spawn('apt-get', [...options, 'update']);
  const fetch = spawn('apt-get', [
    ...options,
    ...['install', '--yes', '--download-only', '--no-install-recommends', 'valkey-server'],
  ]);
  const directory = join(apt, 'cache', 'archives');
  const archives = readdirSync(directory).filter((name) => name.endsWith('.deb'));
  if (fetch.status !== 0 || archives.length === 0) {
    throw new Error(`apt-get could not fetch valkey-server:\n${update.text}${fetch.text}`);
  }
  return archives.map((name) => join(directory, name));
}

/** The machine's own package sources. */
function machineSources() {
  const directory = '/etc/apt/sources.list.d';
  return ['/etc/apt/sources.list', ...list(directory).map((name) => join(directory, name))]
    .filter((path) => /\.(list|sources)$/.test(path))
    .flatMap((path) => {
      try {
        return [{ name: basename(path), text: readFileSync(path, 'utf8') }];
      } catch {
        return [];
      }
    });
}

/** @param {string} directory */
function list(directory) {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * A launcher, because the unpacked libraries are not where the loader looks.
 * @param {string} work
 * @param {string} target
 */
function writeLauncher(work, target) {
  const libraries = ['usr/lib', 'lib']
    .flatMap((base) => [base, ...list(join(work, 'root', base)).map((name) => `${base}/${name}`)])
    .filter((path) => list(join(work, 'root', path)).some((name) => name.includes('.so')))
    .map((path) => join(target, 'root', path));
  mkdirSync(join(work, 'bin'));
  writeFileSync(
    join(work, 'bin', 'valkey-server'),
    [
      '#!/bin/sh',
      `LD_LIBRARY_PATH=${quote(libraries.join(':'))}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}`,
      'export LD_LIBRARY_PATH',
      `exec ${quote(join(target, 'root', 'usr', 'bin', 'valkey-server'))} "$@"`,
      '',
    ].join('\n'),
    { mode: 0o755 },
  );
}

/** @param {string} text */
function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {string} target */
function works(target) {
  return spawn(join(target, 'bin', 'valkey-server'), ['--version']).status === 0;
}

/**
 * @param {string} program
 * @param {string[]} args
 */
function run(program, args) {
  const result = spawn(program, args);
  if (result.status !== 0) throw new Error(`${basename(program)} ${args.join(' ')} failed:\n${result.text}`);
}

/**
 * @param {string} program
 * @param {string[]} args
 */
function spawn(program, args) {
  const result = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
  });
  return { status: result.status, text: `${result.stdout ?? ''}${result.stderr ?? ''}${result.error ?? ''}` };
}
