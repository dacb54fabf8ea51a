import {
  type Check,
  checkCaches,
  checkConfig,
  checkNode,
  checkSkillsLoad,
  checkStorage,
  checkTypeScript,
} from '../doctor-checks.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import type { Terminal } from '../terminal.js';

/** Of the longest name of a check. */
const NAME_WIDTH = 'configuration'.length;

export interface DoctorOptions extends PlaceFlags {
  readonly json?: boolean;
}

/** `agentup doctor`: what must hold for an agent to run here, each with what to do where it does not. */
export async function run(options: DoctorOptions, terminal: Terminal): Promise<ExitCode> {
  const checks: Check[] = [];
  for await (const check of allChecks(options, terminal)) {
    checks.push(check);
    // At once: loading the skills runs code that may end the process.
    if (!options.json) print(check, terminal);
  }
  const healthy = !checks.some(({ status }) => status === 'fail');
  if (options.json) terminal.json({ healthy, checks });
  else terminal.result(`\n${verdict(checks, terminal)}`);
  return healthy ? EXIT.done : EXIT.failed;
}

async function* allChecks(options: DoctorOptions, terminal: Terminal): AsyncGenerator<Check> {
  yield await checkNode();
  const { check, loaded } = await checkConfig(options, terminal);
  yield check;
  yield checkTypeScript(loaded, workingDirectory(options, terminal));
  if (!loaded) return;
  yield await checkStorage(loaded);
  yield* await checkCaches(loaded);
  yield await checkSkillsLoad(loaded);
}

function print({ name, status, message, fix }: Check, terminal: Terminal): void {
  const { bold, green, red, yellow } = terminal.style;
  const tone = { ok: green, warn: yellow, fail: red }[status];
  terminal.result(`${tone(bold(status.padEnd(4)))}  ${name.padEnd(NAME_WIDTH)}  ${message}`);
  if (fix !== undefined) terminal.result(`${' '.repeat(4 + 2 + NAME_WIDTH + 2)}fix: ${fix}`);
}

function verdict(checks: readonly Check[], { style: { green, red, yellow } }: Terminal): string {
  const some = (wanted: Check['status']) => checks.some(({ status }) => status === wanted);
  if (some('fail')) return red('Something is wrong: mend what says fail.');
  return some('warn') ? yellow('It works; look at what says warn.') : green('All is well.');
}
