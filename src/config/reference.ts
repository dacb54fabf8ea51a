import type { z } from 'zod';
import { FINDING_CODES } from './finding.js';
import { choicesOf, descriptionOf, expectsOf, noteOf, shapeOf, unwrap } from './inspect-schema.js';
import { configSchema } from './schema.js';

/** One key of the configuration, as the documentation has it. */
export interface ReferenceEntry {
  /** `skills[].id`, `services.<name>.type`. */
  readonly path: string;
  readonly type: string;
  /** The default, or what holds instead of one; `required` where the key must be given. */
  readonly default: string;
  readonly description: string;
}

/** Every key of the configuration, in the order of the schema. */
export function configReference(): ReferenceEntry[] {
  return entriesOf(configSchema, '');
}

/** The reference as Markdown: one table for each section, and one of the finding codes. */
export function referenceMarkdown(): { readonly keys: string; readonly codes: string } {
  const sections = new Map<string, ReferenceEntry[]>();
  for (const entry of configReference()) {
    const name = /^\w+/.exec(entry.path)?.[0] ?? '';
    sections.set(name, [...(sections.get(name) ?? []), entry]);
  }
  const keys = [...sections].map(([name, [section, ...entries]]) => {
    const rows = entries.map(({ path, type, default: fallback, description }) => [
      `\`${path}\``,
      type,
      fallback,
      description,
    ]);
    return `### \`${name}\`\n\n${section?.description ?? ''}\n${rows.length > 0 ? `\n${table(['key', 'type', 'default', 'meaning'], rows)}\n` : ''}`;
  });
  const codes = Object.entries(FINDING_CODES).map(([code, [severity, meaning]]) => [`\`${code}\``, severity, meaning]);
  return { keys: keys.join('\n'), codes: `${table(['code', 'severity', 'meaning'], codes)}\n` };
}

function entriesOf(schema: z.ZodType, prefix: string): ReferenceEntry[] {
  return Object.entries(shapeOf(schema)).flatMap(([key, child]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    return [entry(path, child as z.ZodType), ...below(child as z.ZodType, path)];
  });
}

function below(schema: z.ZodType, path: string): ReferenceEntry[] {
  const { def } = unwrap(schema)._zod;
  if (def.type === 'array') return entriesOf(def.element as z.ZodType, `${path}[]`);
  if (def.type === 'record') return entriesOf(def.valueType as z.ZodType, `${path}.<name>`);
  return entriesOf(schema, path);
}

function entry(path: string, schema: z.ZodType): ReferenceEntry {
  const { default: fallback, absent, required } = noteOf(schema);
  const whole = typeOf(schema) === 'map' ? '' : 'none';
  return {
    path,
    type: typeOf(schema),
    default: fallback !== undefined ? `\`${JSON.stringify(fallback)}\`` : (absent ?? (required ? 'required' : whole)),
    description: descriptionOf(schema),
  };
}

function typeOf(schema: z.ZodType): string {
  const choices = choicesOf(schema);
  const { def } = unwrap(schema)._zod;
  if (def.type === 'enum') return choices.map((choice) => `\`${choice}\``).join(', ');
  if (def.type === 'array')
    return `list of ${typeOf(def.element as z.ZodType)}`.replace('of text', 'of texts').replace(/of map$/, 'of maps');
  if (def.type === 'object' || def.type === 'record') return 'map';
  return expectsOf(schema).replace(/^an? /, '');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
