export const SECTIONS = [
  'turn',
  'queue',
  'throughput',
  'traffic',
  'lost',
  'listing',
  'caches',
  'migration',
  'layers',
  'replication',
  'server',
  'sync',
  'down',
] as const;
export type SectionName = (typeof SECTIONS)[number];

export interface Options {
  readonly sections: readonly SectionName[];
  readonly peers: boolean;
  /** Where the findings go as JSON. */
  readonly json: string | undefined;
  readonly rounds: number;
}

const USAGE = `usage: bench [${SECTIONS.join('|')}]… [--json file]`;

/** Reads the command line and AGENTUP_BENCH_ROUNDS. Throws with what is wrong. */
export function readOptions(args: readonly string[], env: NodeJS.ProcessEnv): Options {
  const sections: SectionName[] = [];
  let peers = false;
  let json: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === '--peers') peers = true;
    else if (arg === '--json' && args[i + 1] !== undefined) json = args[++i];
    else if (isSection(arg)) sections.push(arg);
    else throw new Error(`${arg} is not known here\n${USAGE}`);
  }
  const rounds = Number(env['AGENTUP_BENCH_ROUNDS'] ?? 60);
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error('AGENTUP_BENCH_ROUNDS is a number from 1 on');
  return { sections: sections.length > 0 ? sections : SECTIONS, peers, json, rounds };
}

function isSection(text: string): text is SectionName {
  return (SECTIONS as readonly string[]).includes(text);
}
