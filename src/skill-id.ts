/** How a skill's id looks: what file names, URLs and protocols all take. */
export const SKILL_ID = /^[a-z][a-z0-9_-]{0,63}$/;

/** An id for any text, or nothing where no letter or digit is left: `"Déjà vu!"` → `deja_vu`. */
export function suggestSkillId(text: string): string | undefined {
  const words = text
    .slice(0, 1000)
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9-]+/)
    .filter((word) => /[a-z0-9]/.test(word))
    .join('_');
  if (words === '') return undefined;
  return (/^[a-z]/.test(words) ? words : `skill_${words.replace(/^[^a-z0-9]+/, '')}`)
    .slice(0, 64)
    .replace(/[_-]+$/, '');
}
