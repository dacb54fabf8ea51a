import { printable } from '../../config/frame.js';
import { usage } from '../interview.js';

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `90s`, `30m`, `24h`, `7d`; fractions count. `undefined` where it is no time. */
export function durationIn(text: string): number | undefined {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
  const ms = Number(number) * (UNITS[unit] ?? Number.NaN);
  return number === '' || !Number.isFinite(ms) ? undefined : ms;
}

/** The same of a flag. @throws USAGE naming it */
export function durationOf(text: string, flag: string): number {
  const ms = durationIn(text);
  if (ms === undefined) throw usage(`${flag}: ${JSON.stringify(text)} is no time; write 90s, 30m, 24h or 7d`, flag);
  return ms;
}

/** A whole number from `min` on. @throws USAGE naming the flag */
export function countOf(text: string | undefined, flag: string, min = 0): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text) || Number(text) < min) {
    throw usage(`${flag}: ${JSON.stringify(text)} is no whole number from ${min} on`, flag);
  }
  return Number(text);
}

/** How long ago that was: `12 s`, `5 min`, `3 h`, `9 d`. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** `512 B`, `12.3 kB`, `4.0 MB`. */
export function sizeText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const power = Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(1)} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
}

/** What users have said, on one line: nothing in it moves the cursor or colours the terminal. */
export function shown(text: string): string {
  return printable(text.replace(/\r?\n/g, '\u21b5'));
}

/** The same over several lines. */
export function shownLines(text: string): string[] {
  return text.split(/\r?\n/).map((line) => printable(line.replaceAll('\t', '    ')));
}
