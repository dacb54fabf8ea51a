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

/** A line as it is shown, and how much of its beginning and end is as it was. */
interface Shown {
  readonly text: string;
  readonly sameAtStart: number;
  readonly sameAtEnd: number;
}

/** Shows places of one text. What a line costs it costs once: a file on one line may be full of findings. */
export class CodeFrames {
  readonly #lines: readonly string[];
  readonly #hidden: ReadonlySet<number>;
  readonly #shown = new Map<number, Shown>();

  /** @param hidden lines (from 1 on) that are not shown at all, since a secret runs over several */
  constructor(lines: readonly string[], hidden: ReadonlySet<number>) {
    this.#lines = lines;
    this.#hidden = hidden;
  }

  /** The lines around a place, with numbers, and carets below it. Secrets in them are `***`. */
  at(spot: Spot): string {
    const first = Math.max(1, spot.line - AROUND);
    const last = Math.min(this.#lines.length, spot.line + AROUND);
    const gutter = String(last).length;
    const out: string[] = [];
    const raw = this.#lines[spot.line - 1] ?? '';
    const target = this.#show(spot.line);
    const from = indexIn(target, raw, spot.column - 1);
    const to = Math.max(from, indexIn(target, raw, spot.column - 1 + spot.length));
    // A long line is shown around the place, and its neighbours from the same column.
    const start = from > MAX_WIDTH - 20 ? from - 30 : 0;
    for (let number = first; number <= last; number++) {
      const isTarget = number === spot.line;
      const { text: line } = isTarget ? target : this.#show(number);
      out.push(`${isTarget ? '>' : ' '} ${String(number).padStart(gutter)} | ${cut(line, start)}`.trimEnd());
      if (!isTarget) continue;
      const offset = widthOf(cut(line.slice(0, from), start));
      const length = widthOf(line.slice(from, Math.min(to, start + MAX_WIDTH)));
      out.push(`  ${' '.repeat(gutter)} | ${' '.repeat(offset)}${'^'.repeat(Math.max(1, length))}`);
    }
    return out.join('\n');
  }

  #show(number: number): Shown {
    let shown = this.#shown.get(number);
    if (!shown) {
      const raw = this.#lines[number - 1] ?? '';
      shown = compared(this.#hidden.has(number) ? '***' : clean(raw), raw);
      this.#shown.set(number, shown);
    }
    return shown;
  }
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
  const isBegun = start > 0 && line.length > start;
  // One character more than is shown tells that there are more.
  const text = `${isBegun ? '…' : ''}${line.slice(start + (isBegun ? 1 : 0), start + MAX_WIDTH + 1)}`;
  return text.length > MAX_WIDTH ? `${text.slice(0, MAX_WIDTH - 1)}…` : text;
}

function compared(text: string, raw: string): Shown {
  if (text.length === raw.length) return { text, sameAtStart: raw.length, sameAtEnd: 0 };
  let same = 0;
  while (same < text.length && (text[same] === raw[same] || raw[same] === '\t')) same++;
  let sameAtEnd = 0;
  while (sameAtEnd < text.length - same && text.at(-1 - sameAtEnd) === raw.at(-1 - sameAtEnd)) sameAtEnd++;
  return { text, sameAtStart: same, sameAtEnd };
}

/** Where the character at `index` of the raw line is in the shown one; the beginning of what was hidden if it is in there. */
function indexIn({ text, sameAtStart, sameAtEnd }: Shown, raw: string, index: number): number {
  if (text.length === raw.length) return Math.min(index, raw.length);
  if (index <= sameAtStart) return index;
  return raw.length - index <= sameAtEnd ? text.length - (raw.length - index) : sameAtStart;
}

function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += WIDE.test(character) ? 2 : 1;
  return width;
}
