import { AgentUpError } from '../errors.js';
import type { LoadedSkill } from './load-skill.js';

/**
 * Chooses the skill for a message: the one asked for by id; else among those with a keyword or pattern that matches,
 * the one of highest priority (in the order of the configuration where equal); else the default skill.
 */
export class Router {
  readonly #skills: readonly LoadedSkill[];
  readonly #rules: { readonly skill: LoadedSkill; readonly matches: readonly RegExp[] }[];
  readonly #fallback: LoadedSkill | undefined;

  constructor(skills: readonly LoadedSkill[], defaultSkill: string | undefined) {
    this.#skills = skills;
    this.#rules = skills
      .map((skill) => ({
        skill,
        matches: [
          ...(skill.config.keywords ?? []).map(wholeWord),
          ...(skill.config.patterns ?? []).map((pattern) => new RegExp(pattern, 'iu')),
        ],
      }))
      .sort((a, b) => (b.skill.config.priority ?? 0) - (a.skill.config.priority ?? 0));
    this.#fallback =
      skills.find(({ id }) => id === defaultSkill) ??
      (skills.length === 1 ? skills[0] : this.#rules.find(({ matches }) => matches.length === 0)?.skill);
  }

  /** @throws SKILL_NOT_FOUND */
  route(text: string, id?: string): LoadedSkill {
    if (id !== undefined) {
      const skill = this.#skills.find((candidate) => candidate.id === id);
      if (skill) return skill;
      throw new AgentUpError('SKILL_NOT_FOUND', `there is no skill ${JSON.stringify(id)}`, {
        skillId: id,
        fix: `use one of: ${this.#skills.map((candidate) => candidate.id).join(', ') || '(the agent has none)'}`,
      });
    }
    const rule = this.#rules.find(({ matches }) => matches.some((match) => match.test(text)));
    const skill = rule?.skill ?? this.#fallback;
    if (skill) return skill;
    throw new AgentUpError('SKILL_NOT_FOUND', 'no skill matches this message, and there is no default skill', {
      fix:
        this.#skills.length === 0
          ? 'create one (npx agentup skill create), or give createAgent some: { skills: [MySkill] }'
          : 'set agent.default_skill',
    });
  }
}

function wholeWord(keyword: string): RegExp {
  const literal = keyword
    .trim()
    .replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
    .replace(/\s+/g, '\\s+');
  return new RegExp(`(?<![\\p{L}\\p{N}_])${literal}(?![\\p{L}\\p{N}_])`, 'iu');
}
