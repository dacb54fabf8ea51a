import { AgentUpError } from '../errors.js';
import { SKILL_ID } from '../skill-id.js';
import { recordSkill, type SkillMetadata } from './handler-metadata.js';
import { refuseBare } from './method-decorator.js';

/**
 * Names a class as a skill. The agent knows it by this id, which is also its id in `agent_config.yaml`.
 * @throws DECORATOR_MISUSE on anything but a class, and without its parentheses; INVALID_ARGUMENT for an id that is not lower-case letters,
 * digits, `_` and `-`, beginning with a letter, 64 at most
 */
export function skill(
  metadata: SkillMetadata,
): (target: abstract new (...args: never[]) => object, context?: unknown) => void {
  // biome-ignore lint/complexity/noArguments: what it is given without parentheses is in no signature
  refuseBare('skill', arguments, "@skill({ id: 'my_skill' })");
  if (typeof metadata?.id !== 'string' || !SKILL_ID.test(metadata.id)) {
    throw new AgentUpError('INVALID_ARGUMENT', `the skill id ${JSON.stringify(metadata?.id)} is not one`, {
      argument: 'id',
      fix: 'use lower-case letters, digits, _ and -, beginning with a letter, 64 at most',
    });
  }
  return (target, context) => {
    const kind = (context as { kind?: string } | undefined)?.kind;
    if (typeof target !== 'function' || (kind !== undefined && kind !== 'class') || typeof context === 'string') {
      throw new AgentUpError('DECORATOR_MISUSE', '@skill() belongs on a class', {
        fix: 'move @skill() above the class',
      });
    }
    recordSkill(target, metadata);
  };
}
