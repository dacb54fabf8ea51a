import { readFile } from 'node:fs/promises';
import type { DeployTemplates } from './deploy-files.js';
import type { ProjectTemplates } from './project-files.js';
import type { Flavour, SkillTemplates } from './skill-files.js';

const ROOT = new URL('../../../templates/', import.meta.url);

/** The handler and the test of a flavour, as they are in `templates/`. */
export async function readSkillTemplates(flavour: Flavour): Promise<SkillTemplates> {
  const [handler, test] = await Promise.all([
    read(`skills/${flavour}/skill.ts`),
    read(`skills/${flavour}/skill.test.ts`),
  ]);
  return { handler, test };
}

/** What it takes to run in containers. */
export async function readDeployTemplates(): Promise<DeployTemplates> {
  const [dockerfile, dockerignore] = await Promise.all([read('deploy/_Dockerfile'), read('deploy/_dockerignore')]);
  return { dockerfile, dockerignore };
}

/** The files of a project. Those whose names npm or git would act on carry a `_` there. */
export async function readProjectTemplates(flavour: Flavour): Promise<ProjectTemplates> {
  const [config, packageJson, tsconfig, vitestConfig, gitignore, readme, skill] = await Promise.all([
    read('project/agent_config.yaml'),
    read('project/_package.json'),
    read('project/_tsconfig.json'),
    read('project/vitest.config.ts'),
    read('project/_gitignore'),
    read('project/_README.md'),
    readSkillTemplates(flavour),
  ]);
  return { config, packageJson, tsconfig, vitestConfig, gitignore, readme, skill };
}

function read(path: string): Promise<string> {
  return readFile(new URL(path, ROOT), 'utf8');
}
