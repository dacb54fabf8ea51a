import { escapeInterpolation } from '../../config/interpolate.js';
import { inlineYaml } from '../../config/yaml-text.js';
import { fill } from './fill.js';
import { markdownText } from './literals.js';
import type { PlannedFile } from './plan.js';
import { handlerPath, type SkillAnswers, type SkillTemplates, skillFiles } from './skill-files.js';
import { type StateAnswers, stateLine } from './state-answers.js';

export interface ProjectAnswers {
  /** The agent's name. */
  readonly name: string;
  readonly packageName: string;
  readonly skill: SkillAnswers;
  readonly state: StateAnswers;
  /** Package name → version spec, for the dependencies of `package.json`. */
  readonly versions: Readonly<Record<string, string>>;
}

/** The files under `templates/project`, as text. */
export interface ProjectTemplates {
  readonly config: string;
  readonly packageJson: string;
  readonly tsconfig: string;
  readonly vitestConfig: string;
  readonly gitignore: string;
  readonly readme: string;
  readonly skill: SkillTemplates;
}

/** The files of a new agent, with its first skill. */
export function projectFiles(answers: ProjectAnswers, templates: ProjectTemplates): PlannedFile[] {
  const { name, skill } = answers;
  const filled = {
    ...templates,
    config: configFile(answers, templates.config),
    packageJson: packageFile(answers, templates.packageJson),
    readme: fill(templates.readme, { 'Template agent': markdownText(name) }),
  };
  return [...filesInAnyCase(filled), ...skillFiles(skill, templates.skill)];
}

/**
 * The files that a new agent has whatever is answered. As their templates are they are enough to see what is in the
 * way: no `agent_config.yaml` that is there says just what its template says, so that it always is.
 */
export function filesInAnyCase(templates: Omit<ProjectTemplates, 'skill'>): PlannedFile[] {
  return [
    { path: 'agent_config.yaml', content: templates.config },
    { path: 'package.json', content: templates.packageJson },
    { path: 'tsconfig.json', content: templates.tsconfig },
    { path: 'vitest.config.ts', content: templates.vitestConfig },
    { path: '.gitignore', content: templates.gitignore },
    { path: 'README.md', content: templates.readme },
  ];
}

function configFile({ name, skill, state }: ProjectAnswers, template: string): string {
  return fill(template, {
    '"template agent"': yaml(name),
    '"template name"': yaml(skill.name),
    '"template description"': yaml(skill.description),
    './src/skills/template_id.ts': `./${handlerPath(skill.id)}`,
    template_id: inlineYaml(skill.id),
    'state: { backend: file, storage_dir: ./conversation_states }': stateLine(state),
  });
}

/** A text that means itself: nothing in it is taken for a reference to the environment. */
function yaml(text: string): string {
  return inlineYaml(escapeInterpolation(text));
}

function packageFile({ packageName, versions }: ProjectAnswers, template: string): string {
  const manifest = JSON.parse(template) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
  const pinned = (wanted: Record<string, string>) =>
    Object.fromEntries(Object.keys(wanted).map((name) => [name, versions[name] ?? '*']));
  const content = {
    ...manifest,
    name: packageName,
    dependencies: pinned(manifest.dependencies),
    devDependencies: pinned(manifest.devDependencies),
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
