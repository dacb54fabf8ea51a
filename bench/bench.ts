import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startValkey } from '../test/support/valkey-server.js';
import { readOptions, type SectionName } from './options.js';
import { caches } from './sections/caches.js';
import { down } from './sections/down.js';
import { layers } from './sections/layers.js';
import { listing } from './sections/listing.js';
import { lost } from './sections/lost.js';
import { migration } from './sections/migration.js';
import { queue } from './sections/queue.js';
import { replication } from './sections/replication.js';
import { server } from './sections/server.js';
import { sync } from './sections/sync.js';
import { throughput } from './sections/throughput.js';
import { traffic } from './sections/traffic.js';
import { turn } from './sections/turn.js';
import { loadSubjects } from './subjects.js';
import type { Found, Section } from './support/bench-run.js';
import { bounded } from './support/bounded.js';

const SECTIONS: Record<SectionName, { readonly title: string; readonly run: Section }> = {
  turn: { title: 'A turn', run: turn },
  queue: { title: 'Turns that wait for one another', run: queue },
  throughput: { title: 'Throughput on Valkey', run: throughput },
  traffic: { title: 'Traffic on Valkey', run: traffic },
  lost: { title: 'Lost updates', run: lost },
  listing: { title: 'Listing and cleaning up', run: listing },
  caches: { title: 'Caches', run: caches },
  migration: { title: 'Migration', run: migration },
  layers: { title: 'Encryption and observation', run: layers },
  replication: { title: 'Replication', run: replication },
  server: { title: 'Over HTTP', run: server },
  sync: { title: 'Sync', run: sync },
  down: { title: 'Server down', run: down },
};

/** Far more than any section needs; a library that never answers must not keep the benchmark for ever. */
const SECTION_MS = 30 * 60_000;

// Asked to end, it does not leave its directory behind; server and workers end with it anyway.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  // Whatever a section that failed has left running ends here.
  process.exit(1);
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2), process.env);
  const leftOut = new Set<string>();
  const leaveOut = (line: string): void => {
    if (!leftOut.has(line)) console.error(`left out: ${line}`);
    leftOut.add(line);
  };
  const loaded = await loadSubjects(options.peers, leaveOut);
  const about = `Node ${process.version}, ${process.platform} ${process.arch}, ${availableParallelism()} cores.`;
  console.log(
    `A turn: 10 messages and 2 variables read, 1 increment, 200 B set, 2 messages of 300 B, 1 metadata entry.\n${about}`,
  );

  const { peers, rounds } = options;
  const common = { loaded, peers, rounds, leaveOut, progress: (line: string) => console.error(`${line} …`) };
  const found: Partial<Record<SectionName, Found['data']>> = {};
  for (const name of options.sections) {
    const { title, run } = SECTIONS[name];
    const { markdown, data } = await inPlace((place) => bounded(run({ ...common, place }), SECTION_MS, title));
    found[name] = data;
    console.log(`\n## ${title}\n\n${markdown}`);
  }
  for (const line of leftOut) console.log(`\nLeft out: ${line}`);
  if (options.json !== undefined) {
    const report = { node: process.version, cores: availableParallelism(), leftOut: [...leftOut], ...found };
    await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
}

/** With a server and a directory of its own, gone afterwards: no section finds what another has left. */
async function inPlace<Result>(use: (place: { url: string; directory: string }) => Promise<Result>): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), 'agentup-bench-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.once('exit', remove);
  const valkey = await startValkey();
  try {
    return await use({ url: valkey.url.replace('valkey:', 'redis:'), directory });
  } finally {
    await valkey.stop();
    process.off('exit', remove);
    remove();
  }
}
