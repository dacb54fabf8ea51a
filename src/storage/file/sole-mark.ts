import { fstatSync, readFileSync } from 'node:fs';
import { isMissing } from './file-errors.js';
import { type Owner, parseOwner } from './process-owner.js';

/** In the directory of the processes, a link to the state of the one that writes alone. */
export const SOLE = '.sole';

/** Where a state says `busy`, and where `until`: both are written over in place. */
export const BUSY_AT = '{"busy":"'.length;
export const UNTIL_AT = '{"busy":"0","until":"'.length;
const UNTIL_DIGITS = 14;

/** How far ahead the leases of a process that writes alone are vouched for, at most. */
export const VOUCHED_MS = 5_000;

/** What a process says of itself as long as it writes alone. */
export interface SoleState {
  readonly text: string;
  /** It is writing at this moment. */
  readonly busy: boolean;
  /** No lease that it has given counts any longer than this, unless it says so again: milliseconds of `uptimeMs`. */
  readonly until: number;
  readonly owner: Owner | undefined;
}

/** A state in which nothing is done, as the text of its file. */
export function soleText(ownerText: string): string {
  return `{"busy":"0","until":"${untilText(0)}",${ownerText.slice(1)}\n`;
}

export function untilText(until: number): string {
  return String(Math.ceil(until)).padStart(UNTIL_DIGITS, '0');
}

/** What the mark at a path says; `undefined` where there is none. */
export function readSoleMark(path: string): SoleState | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const { busy, until } = /^\{"busy":"(?<busy>.)","until":"(?<until>\d+)"/.exec(text)?.groups ?? {};
  return { text, busy: busy !== '0', until: Number(until ?? 0), owner: parseOwner(text) };
}

const { hrtime } = process;
const realNow = performance.now.bind(performance);
const ORIGIN = Number(hrtime.bigint()) / 1e6 - realNow();

/** Milliseconds on a clock that all processes of a machine share, that nobody sets, and that no test moves. */
export function uptimeMs(): number {
  return ORIGIN + realNow();
}

/** How many names a file has. */
export function namesOf(file: number): number {
  return fstatSync(file).nlink;
}
