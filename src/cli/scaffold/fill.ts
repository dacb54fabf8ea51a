/**
 * A template with every placeholder replaced, in one pass: what is put in is never looked at again. A placeholder
 * is a whole token of the template's language (a string literal with its quotes, an identifier), so that a template
 * is a working file as it stands, and what replaces it is a token too.
 */
export function fill(template: string, tokens: Readonly<Record<string, string>>): string {
  const names = Object.keys(tokens).sort((a, b) => b.length - a.length);
  const anyOf = new RegExp(names.map((name) => name.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')).join('|'), 'g');
  return template.replace(anyOf, (name) => tokens[name] ?? name);
}
