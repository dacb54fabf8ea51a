import { redactText } from '../redact.js';

/** Lines shown before and after the one that is pointed at. */
const AROUND = 2;
const MAX_WIDTH = 100;
/** What would turn, clear or break the terminal line it is printed on. The joiner of emoji is harmless. */
const UNPRINTABLE = /(?!\u200D)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60]/u;

/** A place in a text: line and column from 1 on, and how many characters of that line it spans. */
export interface Spot {
  readonly line: number;
  readonly column: number;
  readonly length: number;
}

/**
 * The lines around a place, with numbers, and carets below it. Secrets in them are `***`; `hidden` are lines (from 1
 * on) that are not shown at all, since a secret runs over several.
 */
export function codeFrame(lines: readonly string[], spot: Spot, hidden: ReadonlySet<number>): string {
  const first = Math.max(1, spot.line - AROUND);
  const last = Math.min(lines.length, spot.line + AROUND);
  const gutter = String(last).length;
  const out: string[] = [];
  const target = lines[spot.line - 1] ?? '';
  const shown = hidden.has(spot.line) ? '***' : clean(target);
  const from = indexIn(shown, target, spot.column - 1);
  const to = Math.max(from, indexIn(shown, target, spot.column - 1 + spot.length));
  // A long line is shown around the place, and its neighbours from the same column.
  const start = from > MAX_WIDTH - 20 ? from - 30 : 0;
  for (let number = first; number <= last; number++) {
    const isTarget = number === spot.line;
    const line = isTarget ? shown : hidden.has(number) ? '***' : clean(lines[number - 1] ?? '');
    out.push(`${isTarget ? '>' : ' '} ${String(number).padStart(gutter)} | ${cut(line, start)}`.trimEnd());
    if (!isTarget) continue;
    const offset = widthOf(cut(line.slice(0, from), start));
    const length = widthOf(line.slice(from, Math.min(to, start + MAX_WIDTH)));
    out.push(`  ${' '.repeat(gutter)} | ${' '.repeat(offset)}${'^'.repeat(Math.max(1, length))}`);
  }
  return out.join('\n');
}

/** As long as before, apart from secrets. */
function clean(line: string): string {
  return printable(redactText(line.replace(/\t/g, '→')));
}

/** A text for one line of a terminal, as long as before. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => '�'.repeat(character.length));
}

function cut(line: string, start: number): string {
  const text = start > 0 && line.length > start ? `…${line.slice(start + 1)}` : line.slice(start);
  return text.length > MAX_WIDTH ? `${text.slice(0, MAX_WIDTH - 1)}…` : text;
}

/** Where the character at `index` of the raw line is in the shown one; the beginning of what was hidden if it is in there. */
function indexIn(shown: string, raw: string, index: number): number {
  if (shown.length === raw.length) return Math.min(index, raw.length);
  let same = 0;
  while (same < shown.length && (shown[same] === raw[same] || raw[same] === '\t')) same++;
  if (index <= same) return index;
  let sameAtEnd = 0;
  while (sameAtEnd < shown.length - same && shown.at(-1 - sameAtEnd) === raw.at(-1 - sameAtEnd)) sameAtEnd++;
  return raw.length - index <= sameAtEnd ? shown.length - (raw.length - index) : same;
}

function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += WIDE.test(character) ? 2 : 1;
  return width;
}
