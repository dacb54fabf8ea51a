import { fill } from './fill.js';
import { tsString } from './literals.js';
import { classNameFor } from './names.js';
import type { PlannedFile } from './plan.js';

/** The kinds of skill there are templates for, in the order they are offered. */
export const FLAVOURS = {
  memory: { stateful: true, summary: 'remembers a person: history, counters, preferences it learned' },
  tasks: { stateful: true, summary: 'works through a task over days: start, next, pause, resume, status' },
  plain: { stateful: false, summary: 'answers each message on its own, remembers nothing' },
} as const;
export type Flavour = keyof typeof FLAVOURS;

export interface SkillAnswers {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly flavour: Flavour;
}

/** The two templates of a flavour, as text. */
export interface SkillTemplates {
  readonly handler: string;
  readonly test: string;
}

/** Where a skill's handler is, from the project's root. */
export function handlerPath(id: string): string {
  return `src/skills/${id}.ts`;
}

/** Where a skill's test is, from the project's root. */
export function testPath(id: string): string {
  return `test/skills/${id}.test.ts`;
}

/** The files of a new skill: the handler and its test. */
export function skillFiles(answers: SkillAnswers, templates: SkillTemplates): PlannedFile[] {
  const { id, name, description } = answers;
  const tokens = {
    TemplateSkill: classNameFor(id),
    "'template_id'": tsString(id),
    "'template name'": tsString(name),
    "'template description'": tsString(description),
    "'./skill.js'": tsString(`../../src/skills/${id}.js`),
  };
  return [
    { path: handlerPath(id), content: fill(templates.handler, tokens) },
    { path: testPath(id), content: fill(templates.test, tokens) },
  ];
}
