import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { fileURLToPath } from 'node:url';
import type { BenchRun, Found } from '../support/bench-run.js';
import { median, quantile } from '../support/samples.js';
import { digits, table } from '../support/table.js';

const KINDS = ['echo', 'memory', 'file', 'valkey'] as const;
const CONVERSATIONS = 200;
const IN_FLIGHT = 64;
const SLICE_MS = 2_000;

interface Served {
  readonly kind: string;
  readonly url: string;
  readonly child: ChildProcess;
  readonly rates: number[];
  readonly times: number[];
}

/** Messages a second through HTTP and the A2A SDK: the SDK alone, and with memory behind it. */
export async function server(run: BenchRun): Promise<Found> {
  const rounds = Math.max(1, Math.min(7, Math.round(run.rounds / 8)));
  const served: Served[] = [];
  const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT });
  try {
    for (const kind of KINDS) served.push(await start(kind, run));
    for (let round = -1; round < rounds; round++) {
      run.progress(`server: round ${Math.max(0, round + 1)} of ${rounds}`);
      for (const one of served) {
        const { rate, times } = await slice(one.url, agent);
        // The first round warms up.
        if (round < 0) continue;
        one.rates.push(rate);
        one.times.push(...times);
      }
    }
  } finally {
    agent.destroy();
    for (const { child } of served) child.kill('SIGKILL');
  }
  const rows = served.map(({ kind, rates, times }) => ({
    name: kind === 'echo' ? 'the A2A SDK, an executor without state' : `agentup run, ${kind}`,
    rate: median(rates),
    p50: median(times),
    p99: quantile(times, 0.99),
  }));
  const floor = rows[0]?.rate ?? Number.NaN;
  const head = ['messages over HTTP', 'messages/s', 'share of the SDK alone', 'p50 ms', 'p99 ms'];
  const cells = rows.map(({ name, rate, p50, p99 }) => [
    name,
    rate.toFixed(0),
    `${digits(rate / floor)}×`,
    digits(p50),
    digits(p99),
  ]);
  const about = `${CONVERSATIONS} conversations, ${IN_FLIGHT} requests in flight from another process; the median of ${rounds} slices of ${SLICE_MS / 1000} s, interleaved. A message reads 10 messages, counts, and adds two.`;
  return { markdown: `${about}\n\n${table(head, cells)}`, data: rows };
}

async function start(kind: string, { place }: BenchRun): Promise<Served> {
  const program = fileURLToPath(new URL('../server/serve.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', program, JSON.stringify({ kind, place })], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit').then(() => {
    throw new Error(`the server of ${kind} ended`);
  });
  const [url] = (await Promise.race([once(child, 'message'), ended])) as [string];
  ended.catch(() => {});
  return { kind, url, child, rates: [], times: [] };
}

async function slice(url: string, agent: Agent): Promise<{ rate: number; times: number[] }> {
  const begin = performance.now();
  const times: number[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - begin < SLICE_MS) {
      const sent = performance.now();
      await send(url, agent, `c${next++ % CONVERSATIONS}`);
      times.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return { rate: (times.length / (performance.now() - begin)) * 1000, times };
}

let sent = 0;

function send(url: string, agent: Agent, contextId: string): Promise<void> {
  const message = {
    messageId: `m${sent++}`,
    contextId,
    role: 'ROLE_USER',
    parts: [{ text: 'What is the weather like in the mountains today?' }],
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: sent, method: 'SendMessage', params: { message } });
  return new Promise((resolve, reject) => {
    const post = request(
      url,
      {
        method: 'POST',
        agent,
        headers: {
          'Content-Type': 'application/json',
          'A2A-Version': '1.0',
          'Content-Length': Buffer.byteLength(body),
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => {
          if (text.includes('weather')) resolve();
          else reject(new Error(`no reply: ${text.slice(0, 200)}`));
        });
      },
    );
    post.on('error', reject);
    post.end(body);
  });
}
