import type { SkillAnswers } from './scaffold/skill-files.js';
import type { Terminal } from './terminal.js';
import type { FileOutcome } from './write-plan.js';

export interface Outcomes {
  /** Absolute path of what the files' paths start from. */
  readonly directory: string;
  readonly outcomes: readonly FileOutcome[];
  /** The skill that was asked for, where one was. */
  readonly skill?: SkillAnswers | undefined;
  /** Commands that make sense now. */
  readonly next: readonly string[];
}

/** Says what was written, or would be: a line per file, or `{ dryRun, directory, skill?, files }` as JSON. */
export function reportOutcomes(
  terminal: Terminal,
  { json = false, dryRun = false }: { json?: boolean | undefined; dryRun?: boolean | undefined },
  { directory, outcomes, skill, next }: Outcomes,
): void {
  if (json) {
    terminal.json({ dryRun, directory, skill, files: outcomes });
    return;
  }
  const { bold, dim, green, yellow } = terminal.style;
  const tones = { created: green, updated: green, overwritten: yellow, unchanged: dim };
  for (const { path, action } of outcomes) {
    const verb = dryRun && action !== 'unchanged' ? `would be ${action}` : action;
    terminal.result(`${tones[action](verb.padEnd(dryRun ? 20 : 11))} ${path}`);
  }
  const nothing = outcomes.every(({ action }) => action === 'unchanged');
  if (dryRun) terminal.note('Dry run: nothing was written.');
  else if (nothing) terminal.note('Nothing to do: everything is as it should be.');
  else if (next.length > 0) terminal.note(`\nNext:\n${next.map((command) => `  ${bold(command)}`).join('\n')}`);
}
