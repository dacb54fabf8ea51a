import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { transform } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '../..');

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An empty project with this package, as built, and what a user would install beside it. */
export interface LinkedProject {
  readonly directory: string;
  write(files: Readonly<Record<string, string>>): Promise<void>;
  /** Runs `node` here. Never rejects on an exit code. */
  node(args: readonly string[], options?: { env?: Record<string, string>; input?: string }): Promise<Finished>;
  /** Runs a TypeScript file as its reader would. */
  tsx(file: string, options?: { env?: Record<string, string> }): Promise<Finished>;
  /** Runs a TypeScript file that imports none, compiled here as `tsx` does it, which costs its process 0.7 s. */
  compiled(file: string, options?: { env?: Record<string, string> }): Promise<Finished>;
  /** Runs the command line. */
  agentup(args: readonly string[], options?: { env?: Record<string, string>; input?: string }): Promise<Finished>;
  remove(): Promise<void>;
}

const TSCONFIG = '{ "compilerOptions": { "experimentalDecorators": true } }\n';

export async function linkedProject(): Promise<LinkedProject> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'agentup-project-')));
  await mkdir(join(directory, 'node_modules'));
  await symlink(ROOT, join(directory, 'node_modules/agentup'), 'dir');
  await mkdir(join(directory, 'node_modules/@photostructure'));
  await mkdir(join(directory, 'node_modules/@a2a-js'));
  for (const name of ['reflect-metadata', 'zod', 'tsx', '@photostructure/sqlite', '@a2a-js/sdk', 'grammy', 'express']) {
    await symlink(join(ROOT, 'node_modules', name), join(directory, 'node_modules', name), 'dir');
  }
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }\n');
  await writeFile(join(directory, 'tsconfig.json'), TSCONFIG);

  const node: LinkedProject['node'] = (args, { env = {}, input } = {}) =>
    new Promise((done) => {
      const child = execFile(
        process.execPath,
        args,
        { cwd: directory, env: { ...process.env, NO_COLOR: '1', ...env } },
        (error, stdout, stderr) => {
          done({ code: error ? (typeof error.code === 'number' ? error.code : 1) : 0, stdout, stderr });
        },
      );
      child.stdin?.end(input ?? '');
    });
  return {
    directory,
    node,
    async write(files) {
      for (const [name, text] of Object.entries(files)) {
        await mkdir(dirname(join(directory, name)), { recursive: true });
        await writeFile(join(directory, name), text);
      }
    },
    tsx: (file, options) => node(['--import', 'tsx', file], options),
    async compiled(file, options) {
      const program = join(directory, file.replace(/\.ts$/, '.mjs'));
      const source = await readFile(join(directory, file), 'utf8');
      const { code } = await transform(source, {
        ...{ loader: 'ts', format: 'esm', target: 'node20', keepNames: true, sourcemap: 'inline' },
        tsconfigRaw: TSCONFIG,
      });
      await writeFile(program, code);
      return node(['--enable-source-maps', program], options);
    },
    agentup: (args, options) => node([join(ROOT, 'bin/agentup.js'), ...args], options),
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}
