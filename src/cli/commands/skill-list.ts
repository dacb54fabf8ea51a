import { EXIT, type ExitCode } from '../exit-codes.js';
import { openConfig } from '../open-config.js';
import type { PlaceFlags } from '../place.js';
import { table } from '../table.js';
import type { Terminal } from '../terminal.js';

export interface SkillListOptions extends PlaceFlags {
  readonly json?: boolean;
}

/** `agentup skill list`: what the configuration names, in its order. */
export async function run(options: SkillListOptions, terminal: Terminal): Promise<ExitCode> {
  const { config } = await openConfig(options, terminal);
  const usual = config.agent.default_skill;
  const skills = config.skills.map(({ id, name, description, handler, keywords, patterns, priority, tags }) => ({
    id,
    name: name ?? id,
    ...(description !== undefined && { description }),
    handler,
    keywords: keywords ?? [],
    patterns: patterns ?? [],
    priority: priority ?? 0,
    tags: tags ?? [],
    default: id === usual,
  }));
  if (options.json) {
    terminal.json({ skills });
    return EXIT.done;
  }
  if (skills.length === 0) {
    terminal.note('This agent has no skills yet. Create one: npx agentup skill create');
    return EXIT.done;
  }
  const { bold, cyan, dim } = terminal.style;
  const rows = skills.map((skill) => [
    cyan(skill.id) + (skill.default ? ' (default)' : ''),
    skill.name,
    skill.handler,
    [...skill.keywords, ...skill.patterns.map((pattern) => `/${pattern}/`)].join(', ') || dim('-'),
  ]);
  terminal.result(table([['ID', 'NAME', 'HANDLER', 'ANSWERS TO'].map(bold), ...rows]));
  return EXIT.done;
}
