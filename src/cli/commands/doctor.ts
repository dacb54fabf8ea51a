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
import { table } from '../table.js';
import type { Terminal } from '../terminal.js';

export interface DoctorOptions extends PlaceFlags {
  readonly json?: boolean;
}

/** `agentup doctor`: what must hold for an agent to run here, each with what to do where it does not. */
export async function run(options: DoctorOptions, terminal: Terminal): Promise<ExitCode> {
  const cwd = workingDirectory(options, terminal);
  const { check: config, loaded } = await checkConfig(options, terminal);
  const checks: Check[] = [
    await checkNode(),
    config,
    checkTypeScript(loaded, cwd),
    ...(loaded ? [await checkStorage(loaded), ...(await checkCaches(loaded)), await checkSkillsLoad(loaded)] : []),
  ];
  const healthy = !checks.some(({ status }) => status === 'fail');
  if (options.json) terminal.json({ healthy, checks });
  else print(checks, healthy, terminal);
  return healthy ? EXIT.done : EXIT.failed;
}

function print(checks: readonly Check[], healthy: boolean, terminal: Terminal): void {
  const { bold, green, red, yellow } = terminal.style;
  const tones = { ok: green, warn: yellow, fail: red };
  terminal.result(
    table(
      checks.flatMap(({ name, status, message, fix }) => [
        [tones[status](bold(status)), name, message],
        ...(fix === undefined ? [] : [['', '', `fix: ${fix}`]]),
      ]),
    ),
  );
  terminal.result(`\n${healthy ? green('All is well.') : red('Something is wrong: mend what says fail.')}`);
}
