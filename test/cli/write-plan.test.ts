import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writePlan } from '../../src/cli/write-plan.js';
import { run } from './run-cli.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'write-plan-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Everything below the directory, with its content. */
async function tree(): Promise<Record<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(directory.length + 1);
    return [entry.isDirectory() ? `${name}/` : name, entry.isDirectory() ? '' : await readFile(path, 'utf8')] as const;
  });
  return Object.fromEntries(await Promise.all(files));
}

describe('writePlan', () => {
  it('writes new files with their directories, and says "unchanged" the second time', async () => {
    const plan = [
      { path: 'a.txt', content: 'A' },
      { path: 'deep/er/b.txt', content: 'B' },
    ];
    expect(await writePlan(directory, plan)).toEqual([
      { path: 'a.txt', action: 'created' },
      { path: 'deep/er/b.txt', action: 'created' },
    ]);
    expect(await tree()).toEqual({ 'a.txt': 'A', 'deep/': '', 'deep/er/': '', 'deep/er/b.txt': 'B' });
    expect((await writePlan(directory, plan)).map(({ action }) => action)).toEqual(['unchanged', 'unchanged']);
  });

  it('refuses to touch anything when one file is in the way, and names every one', async () => {
    await writeFile(join(directory, 'b.txt'), 'mine');
    await mkdir(join(directory, 'c.txt'));
    const plan = ['a.txt', 'b.txt', 'c.txt'].map((path) => ({ path, content: 'new' }));
    await expect(writePlan(directory, plan)).rejects.toMatchObject({
      code: 'FILE_CONFLICT',
      details: { issues: ['b.txt exists already', 'c.txt is not a file'] },
    });
    expect(await tree()).toEqual({ 'b.txt': 'mine', 'c.txt/': '' });
  });

  it('overwrites with force, keeping the mode, and never a directory', async () => {
    await writeFile(join(directory, 'b.txt'), 'mine');
    await chmod(join(directory, 'b.txt'), 0o664);
    expect(await writePlan(directory, [{ path: 'b.txt', content: 'new' }], { force: true })).toEqual([
      { path: 'b.txt', action: 'overwritten' },
    ]);
    expect((await stat(join(directory, 'b.txt'))).mode & 0o777).toBe(0o664);
    await mkdir(join(directory, 'c.txt'));
    const onto = writePlan(directory, [{ path: 'c.txt', content: 'new' }], { force: true });
    await expect(onto).rejects.toMatchObject({ code: 'FILE_CONFLICT' });
  });

  it('writes nothing in a dry run, and still finds conflicts', async () => {
    expect(await writePlan(directory, [{ path: 'x/a.txt', content: 'A' }], { dryRun: true })).toEqual([
      { path: 'x/a.txt', action: 'created' },
    ]);
    expect(await tree()).toEqual({});
    await writeFile(join(directory, 'a.txt'), 'mine');
    const dry = writePlan(directory, [{ path: 'a.txt', content: 'A' }], { dryRun: true });
    await expect(dry).rejects.toMatchObject({ code: 'FILE_CONFLICT' });
  });

  it('edits a file that still holds what the edit was made from, and no other', async () => {
    await writeFile(join(directory, 'c.yaml'), 'old');
    const edit = { path: 'c.yaml', content: 'new', replaces: 'old' };
    expect(await writePlan(directory, [edit])).toEqual([{ path: 'c.yaml', action: 'updated' }]);
    expect(await writePlan(directory, [edit])).toEqual([{ path: 'c.yaml', action: 'unchanged' }]);
    await writeFile(join(directory, 'c.yaml'), 'somebody else');
    for (const force of [false, true]) {
      await expect(writePlan(directory, [edit], { force })).rejects.toMatchObject({ code: 'FILE_CONFLICT' });
    }
    await rm(join(directory, 'c.yaml'));
    await expect(writePlan(directory, [edit])).rejects.toMatchObject({ code: 'FILE_CONFLICT' });
  });

  it('writes through a symbolic link, and refuses a dangling one', async () => {
    await writeFile(join(directory, 'real.txt'), 'old');
    await symlink('real.txt', join(directory, 'link.txt'));
    await writePlan(directory, [{ path: 'link.txt', content: 'new', replaces: 'old' }]);
    expect(await readFile(join(directory, 'real.txt'), 'utf8')).toBe('new');
    await symlink('nowhere', join(directory, 'dangling.txt'));
    const onto = writePlan(directory, [{ path: 'dangling.txt', content: 'new' }], { force: true });
    await expect(onto).rejects.toMatchObject({ code: 'FILE_CONFLICT' });
  });

  it('refuses a file in the place of a directory', async () => {
    await writeFile(join(directory, 'src'), 'a file');
    const plan = ['src/a.ts', 'src/deep/b.ts'].map((path) => ({ path, content: 'A' }));
    await expect(writePlan(directory, plan)).rejects.toMatchObject({
      code: 'FILE_CONFLICT',
      details: { issues: ['src is a file, and a directory is needed there'] },
    });
  });

  it('says that it may not write, before it has written anything', async () => {
    await mkdir(join(directory, 'mine'));
    await writeFile(join(directory, 'mine/b.txt'), 'old');
    await chmod(join(directory, 'mine'), 0o555);
    await chmod(directory, 0o777);
    // Root may do everything. The rights go after the module is there, which may lie where only root may read.
    const script = `
      const { writePlan } = await import(${JSON.stringify(join(process.cwd(), 'src/cli/write-plan.ts'))});
      if (process.getuid?.() === 0) {
        process.setgroups([]);
        process.setgid(65534);
        process.setuid(65534);
      }
      const plan = ['a.txt', 'mine/b.txt', 'mine/deep/c.txt'].map((path) => ({ path, content: 'new' }));
      await writePlan(${JSON.stringify(directory)}, plan, { force: true }).catch(({ code }) => console.log(code));`;
    const ran = await run(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: process.cwd(),
    });
    await chmod(join(directory, 'mine'), 0o755);
    expect(ran).toEqual({ status: 0, stdout: 'FILE_UNWRITABLE\n', stderr: '' });
    expect(await tree()).toEqual({ 'mine/': '', 'mine/b.txt': 'old' });
  });

  it('fails, and does not spin, where no directory can be made', async () => {
    // A link that leads nowhere looks like a directory that is still to be made.
    await symlink(join(directory, 'gone/deeper'), join(directory, 'src'));
    const plan = [
      { path: 'a.txt', content: 'A' },
      { path: 'src/b.txt', content: 'B' },
    ];
    await expect(writePlan(directory, plan)).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' });
    expect((await readdir(directory)).sort()).toEqual(['src']);
  });

  it('puts everything back when a later file cannot be written', async () => {
    await writeFile(join(directory, 'first.txt'), 'old');
    const plan = [
      { path: 'first.txt', content: 'new', replaces: 'old' },
      { path: 'made/second.txt', content: 'new' },
      // Its checks pass; no file system takes a name that long.
      { path: `made/${'x'.repeat(250)}`, content: 'new' },
    ];
    await expect(writePlan(directory, plan)).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' });
    expect(await tree()).toEqual({ 'first.txt': 'old' });
  });
});
