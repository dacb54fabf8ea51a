import { createHash } from 'node:crypto';
import { SKILL_ID, suggestSkillId } from '../../skill-id.js';

const LONE_SURROGATE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\uFEFF\uFFFE\uFFFF]/u;
/** Names that Windows keeps for devices: no file can be called so. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)$/;
const MAX_ID = 64;

/** The sentence that says why a text is no name, or nothing. Anything on one line of at most `max` characters is. */
export function nameProblem(text: string, max = 100): string | undefined {
  if (text.trim() === '') return 'must not be empty';
  if (CONTROL.test(text)) return 'must be one line, without control characters';
  if (LONE_SURROGATE.test(text)) return 'holds half of a character (a lone surrogate)';
  if ([...text].length > max) return `must have at most ${max} characters`;
  return undefined;
}

/** The sentence that says why a text is no skill id, or nothing. Ids are file names too. */
export function idProblem(text: string): string | undefined {
  if (text.length > MAX_ID) return `must have at most ${MAX_ID} characters`;
  if (!SKILL_ID.test(text)) {
    return 'must begin with a lower-case letter and hold only lower-case letters, digits, _ and -';
  }
  if (DEVICE.test(text)) return `${text} is the name of a device on Windows; choose another`;
  return undefined;
}

/**
 * A skill id for any name: `"Déjà vu!"` → `deja_vu`. A name without a single Latin letter or digit gets one made
 * of its digest, the same every time.
 */
export function idFor(name: string): string {
  const id = suggestSkillId(name) ?? `skill_${createHash('sha256').update(name).digest('hex').slice(0, 8)}`;
  return DEVICE.test(id) ? `${id}_skill` : id;
}

/** The id, or the first of `id_2`, `id_3`, … that is not taken. */
export function freeId(id: string, taken: (id: string) => boolean): string {
  let free = id;
  for (let number = 2; taken(free); number++) free = `${id.slice(0, MAX_ID - 1 - String(number).length)}_${number}`;
  return free;
}

/** A class name for an id: `memory_assistant` → `MemoryAssistantSkill`. The ending keeps it off every other name. */
export function classNameFor(id: string): string {
  const name = id
    .split(/[_-]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
  return name.endsWith('Skill') ? name : `${name}Skill`;
}

/** A name npm accepts for a private package. */
export function packageNameFor(text: string): string {
  return words(text).join('-').slice(0, 100).replace(/-+$/, '') || 'agent';
}

function words(text: string): string[] {
  return text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
}
