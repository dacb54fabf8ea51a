import { defineConfig } from 'vitest/config';
import { ownTemporaryDirectory } from './test/support/run-directory.js';

ownTemporaryDirectory();

/** Directories of tests of the library inside of the test's own process. */
const INSIDE = 'agent|caches|config|conversation|lifecycle|operations|server|skill|storage|sync|tools';
/** But these change what all files of a process share, and count what all do: the calls of `node:fs`. */
const ALONE = [
  'test/storage/file/{beside,durability,faults,leases,races,sole-writer,sole-writer-faults}.test.ts',
  'test/storage/many.test.ts',
  'test/storage/valkey/record-codec.test.ts',
  'test/caches/many-rows.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    // Real processes, real servers, real disks, on a machine that may have two cores and other work.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // What is built runs as Node loads it, and is the module that the projects of tests import.
    server: { deps: { external: [/\/dist\//] } },
    maxWorkers: 2,
    passWithNoTests: false,
    projects: [
      {
        extends: true,
        test: {
          // One after the other in the same process: a third of the suite's time was loading the sources anew.
          name: 'inside',
          include: [`test/@(${INSIDE})/**/*.test.ts`],
          exclude: ALONE,
          isolate: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['test/*.test.ts', `test/!(${INSIDE})/**/*.test.ts`, ...ALONE],
        },
      },
    ],
  },
});
