import { basename } from 'node:path';
import { toIso } from '../../clock.js';
import type { Token } from '../../json.js';
import type { Plan } from '../changes.js';
import type { RecordKey } from '../keys.js';
import type { Change } from '../state-storage.js';
import { textOfFileName } from './file-name.js';
import { FORMAT, type LineSettings, type RecordFold } from './record-fold.js';

/** The first line of a journal. */
export function headerLine(key: RecordKey, gen: string, createdAt: number): string {
  const scope = key.scope.length === 0 ? '' : `"scope":${JSON.stringify(key.scope)},`;
  return `{"agentup":${FORMAT},"gen":"${gen}","id":${JSON.stringify(key.id)},${scope}"created":"${toIso(createdAt)}"}\n`;
}

/** The line of one commit: values as they are now, lists as what was added to them. */
export function commitLine(planned: Plan, changes: readonly Change[], settings: LineSettings): string {
  const { at, version, expiresAt, ownTtl, from, id } = settings;
  const expires = expiresAt === undefined ? '' : `,"expires":${expiresAt === null ? null : `"${toIso(expiresAt)}"`}`;
  const ttl = ownTtl === undefined ? '' : `,"ttl":${JSON.stringify(ownTtl)}`;
  const commit = id === undefined ? '' : `,"id":${JSON.stringify(id)}${overwrittenSums(planned)}`;
  let line = `[{"at":"${toIso(at)}","v":${version}${expires}${ttl}${commit}}`;
  if (planned.clearFields) line += ',{"clear":"fields"}';
  if (planned.clearLog) line += ',{"clear":"log"}';
  if (planned.owner) line += `,{"owner":${JSON.stringify(planned.owner.value ?? null)}}`;
  const added = planned.clearFields ? new Map<string, Token[]>() : onlyAppended(changes);
  const sets: string[] = [];
  const removed: string[] = [];
  for (const [field, token] of planned.fields) {
    if (token === undefined) removed.push(field);
    else if (!added.has(field)) sets.push(`${JSON.stringify(field)}:${token}`);
  }
  if (sets.length > 0) line += `,{"set":{${sets.join(',')}}}`;
  if (removed.length > 0) line += `,{"remove":${JSON.stringify(removed)}}`;
  for (const [field, items] of added) line += `,{"append":{${JSON.stringify(field)}:[${items.join(',')}]}}`;
  for (const entry of planned.log) line += `,{"m":${entry}}`;
  if (from !== undefined) line += `,{"from":${from}}`;
  return `${line}]\n`;
}

function overwrittenSums({ incremented, fields }: Plan): string {
  const sums = [...incremented].filter(([field, sum]) => fields.get(field) !== String(sum));
  return sums.length === 0 ? '' : `,"sums":${JSON.stringify(Object.fromEntries(sums))}`;
}

/** Fields that a change list does nothing to but append, with what it appends. */
function onlyAppended(changes: readonly Change[]): Map<string, Token[]> {
  const found = new Map<string, Token[]>();
  const others = new Set<string>();
  for (const change of changes) {
    if (change.op === 'append') {
      const items = found.get(change.field);
      if (items) items.push(change.item);
      else found.set(change.field, [change.item]);
    } else if ('field' in change) others.add(change.field);
  }
  for (const field of others) found.delete(field);
  return found;
}

/** Entries in one line of a compacted file. */
const ENTRIES_A_LINE = 500;

/** A journal that comes to the same record, without the values that are gone. `entries`: all of its log. */
export function compactedText(fold: RecordFold, entries: readonly Token[], path: string): string {
  const id = fold.header?.id ?? textOfFileName(basename(path, '.jsonl')) ?? '';
  const key: RecordKey = { space: '', scope: fold.header?.scope ?? [], id };
  const at = `"at":"${toIso(fold.updatedAt)}","v":${fold.version}`;
  const expires = fold.expiresAt === undefined ? 'null' : `"${toIso(fold.expiresAt)}"`;
  const ttl = fold.ownTtl === undefined ? '' : `,"ttl":${JSON.stringify(fold.ownTtl)}`;
  const sets = [...fold.fields].map(([field, token]) => `${JSON.stringify(field)}:${token}`);
  let text = headerLine(key, fold.header?.gen ?? newGeneration(), fold.createdAt);
  text += `[{${at},"expires":${expires}${ttl}},{"owner":${JSON.stringify(fold.owner ?? null)}},`;
  text += `{"set":{${sets.join(',')}}},{"from":${fold.logDropped}}]\n`;
  for (let i = 0; i < entries.length; i += ENTRIES_A_LINE) {
    const said = entries.slice(i, i + ENTRIES_A_LINE).map((entry) => `,{"m":${entry}}`);
    text += `[{${at}}${said.join('')}]\n`;
  }
  return text;
}

/** Tells a file from an earlier one of the same name. */
export function newGeneration(): string {
  return Math.random().toString(36).slice(2);
}
