import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { Listing, ListingModule, OpenedListing } from '../listings/listing.js';
import { KINDS } from '../subject.js';
import type { BenchRun, Found } from '../support/bench-run.js';
import { firstLine } from '../support/first-line.js';
import { loadModules } from '../support/load-modules.js';
import { median } from '../support/samples.js';
import { digits, table } from '../support/table.js';

const OWN = ['listings/floors.ts', 'listings/agentup.ts'];
const CONVERSATIONS = 10_000;
const OWNERS = 100;
/** Conversations removed at once, and how often. */
const OLDEST = 1_000;
const REMOVALS = 3;
const LISTINGS = 20;
const ADDED_AT_ONCE = 50;
/** Between one thousand and the next, so that a moment parts them on every clock. */
const PAUSE_MS = 20;
/** Longer than a storage takes to sync all of them in the background. */
const SYNCED_MS = 15_000;

interface Row {
  readonly name: string;
  readonly floor: string | undefined;
  /** Milliseconds. */
  readonly list: number;
  readonly remove: number | undefined;
}

/** One user's conversations among all, and the oldest removed. */
export async function listing(run: BenchRun): Promise<Found> {
  const modules = await loadModules<ListingModule>(OWN, run.peers ? 'listings' : undefined, run.leaveOut);
  const all = modules.flatMap(({ exports: { listings } }) => listings);
  const rows: Row[] = [];
  for (const one of KINDS.flatMap((kind) => all.filter((listed) => listed.kind === kind))) {
    run.progress(`listing: ${one.name}`);
    try {
      rows.push(await measure(one, run));
    } catch (error) {
      run.leaveOut(`${one.name} (listing): ${firstLine(error)}`);
    }
  }
  return { markdown: markdown(rows), data: rows };
}

async function measure({ name, kind, floor, open }: Listing, { place }: BenchRun): Promise<Row> {
  const opened = await open(place);
  try {
    const moments = await fill(opened);
    if (kind === 'file') await written();
    const listed = (user: number) => timed(() => opened.listOwner(`user${user}`), CONVERSATIONS / OWNERS);
    // As elsewhere the code is warm; the conversations of those who are measured are not.
    for (let user = LISTINGS; user < OWNERS; user++) await listed(user);
    const list: number[] = [];
    for (let user = 0; user < LISTINGS; user++) list.push(await listed(user));
    const remove: number[] = [];
    for (const moment of opened.removeBefore ? moments.slice(0, REMOVALS) : []) {
      remove.push(await timed(() => opened.removeBefore?.(moment) as Promise<number>, OLDEST));
    }
    return { name, floor, list: median(list), remove: remove.length > 0 ? median(remove) : undefined };
  } finally {
    await opened.close();
  }
}

/**
 * What is listed, or stale, has mostly been on disk for long, where removing it can cost much more than in the page
 * cache; and nobody syncs it meanwhile.
 */
async function written(): Promise<void> {
  execFileSync('sync');
  await delay(SYNCED_MS);
}

/** @returns the moments after every thousand conversations */
async function fill(opened: OpenedListing): Promise<number[]> {
  const moments: number[] = [];
  for (let id = 0; id < CONVERSATIONS; id += ADDED_AT_ONCE) {
    const some = Array.from({ length: ADDED_AT_ONCE }, (_, i) => id + i);
    await Promise.all(some.map((one) => opened.add(one, `user${one % OWNERS}`)));
    if ((id + ADDED_AT_ONCE) % OLDEST !== 0) continue;
    await delay(PAUSE_MS);
    moments.push(Date.now());
    await delay(PAUSE_MS);
  }
  return moments;
}

async function timed(work: () => Promise<number>, expected: number): Promise<number> {
  const begin = performance.now();
  const count = await work();
  const ms = performance.now() - begin;
  if (count !== expected) throw new Error(`${count} instead of ${expected}`);
  return ms;
}

function markdown(rows: readonly Row[]): string {
  const head = ['ms (× its floor)', `list one user's ${CONVERSATIONS / OWNERS}`, `remove the oldest ${OLDEST}`];
  const cells = rows.map((row) => [row.name, cell(rows, row, 'list'), cell(rows, row, 'remove')]);
  return `Of ${CONVERSATIONS} conversations of ${OWNERS} users; medians of ${LISTINGS} and ${REMOVALS}.\n\n${table(head, cells)}`;
}

function cell(rows: readonly Row[], row: Row, key: 'list' | 'remove'): string {
  const value = row[key];
  if (value === undefined) return '–';
  const base = rows.find(({ name }) => name === row.floor)?.[key];
  return base === undefined ? digits(value) : `${digits(value)} (${digits(value / base)}×)`;
}
