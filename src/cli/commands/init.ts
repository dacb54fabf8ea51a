import { readFile } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { askSkill } from '../ask-skill.js';
import { askState, type StateFlags } from '../ask-state.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { fileInTheWay } from '../file-in-the-way.js';
import { Interview, type InterviewMode } from '../interview.js';
import { ownPackage, ownSpecifier } from '../own-package.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import { reportOutcomes } from '../report-outcomes.js';
import { mergeGitignore, mergePackage } from '../scaffold/merge.js';
import { nameProblem, packageNameFor } from '../scaffold/names.js';
import type { PlannedFile } from '../scaffold/plan.js';
import { filesInAnyCase, projectFiles } from '../scaffold/project-files.js';
import { readProjectTemplates } from '../scaffold/read-templates.js';
import type { Terminal } from '../terminal.js';
import { conflict, writePlan } from '../write-plan.js';

/** Files that are there already in most directories an agent begins in. */
const MERGED: readonly string[] = ['package.json', '.gitignore', 'README.md'];

export interface InitOptions extends PlaceFlags, InterviewMode, StateFlags {
  readonly dir?: string;
  readonly name?: string;
  readonly skill?: string;
  readonly skillId?: string;
  readonly description?: string;
  readonly template?: string;
  readonly agentup?: string;
  readonly force?: boolean;
}

/** `agentup init [dir]`: a project with its configuration, a first skill and its test. */
export async function run(options: InitOptions, terminal: Terminal): Promise<ExitCode> {
  const here = workingDirectory(options, terminal);
  const directory = resolve(here, options.dir ?? '.');
  const interview = new Interview(terminal, options, async () => {
    const files = filesInAnyCase(await readProjectTemplates('memory'));
    await writePlan(directory, await mergeWithExisting(directory, files, options.force), { ...options, dryRun: true });
  });
  const name = await interview.text({
    flag: '--name',
    message: "The agent's name",
    given: options.name,
    initial: basename(directory) || 'agent',
    check: nameProblem,
  });
  const skill = await askSkill(
    interview,
    {
      name: options.skill,
      id: options.skillId,
      description: options.description,
      template: options.template,
    },
    {
      nameFlag: '--skill',
      idFlag: '--skill-id',
      nameMessage: 'Its first skill',
      initialName: 'Assistant',
      taken: (id) => fileInTheWay(directory, id, options.force),
    },
  );
  const state = await askState(interview, options, undefined);
  const own = await ownPackage();
  const planned = projectFiles(
    {
      name: name.trim(),
      packageName: packageNameFor(name),
      skill,
      state,
      versions: { ...own.dependencies, ...own.devDependencies, agentup: options.agentup ?? ownSpecifier(own) },
    },
    await readProjectTemplates(skill.flavour),
  );
  const files = await mergeWithExisting(directory, planned, options.force);
  const outcomes = await writePlan(directory, files, options);
  const place = relative(here, directory);
  reportOutcomes(terminal, options, {
    directory,
    outcomes,
    skill,
    next: [...(place === '' ? [] : [`cd ${shellWord(place)}`]), 'npm install', 'npm run chat'],
  });
  return EXIT.done;
}

/** A path as somebody pastes it into a shell: as it is written, whatever the shell would read into it. */
function shellWord(path: string): string {
  if (path.startsWith('-')) return shellWord(`./${path}`);
  if (/^[\w./-]+$/.test(path)) return path;
  // Double quotes are what the shells of every system know; in those of Unix they do not keep these.
  if (sep === '\\' || !/["$`\\!]/.test(path)) return `"${path}"`;
  return `'${path.replaceAll("'", "'\\''")}'`;
}

/** A package.json and a .gitignore that are there keep what they say, and get what is missing. A README.md is somebody's own. */
async function mergeWithExisting(
  directory: string,
  files: readonly PlannedFile[],
  force: boolean | undefined,
): Promise<PlannedFile[]> {
  return Promise.all(
    files.map(async (file) => {
      if (!MERGED.includes(file.path)) return file;
      const existing = await readFile(join(directory, file.path), 'utf8').catch(() => undefined);
      if (existing === undefined) return file;
      if (file.path === 'README.md') return { ...file, content: existing, replaces: existing };
      if (file.path === '.gitignore') {
        return { ...file, content: mergeGitignore(existing, file.content), replaces: existing };
      }
      const merged = mergePackage(existing, file.content);
      if ('text' in merged) return { ...file, content: merged.text, replaces: existing };
      if (force) return file;
      throw conflict([`package.json ${merged.problem}`]);
    }),
  );
}
