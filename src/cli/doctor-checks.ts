import { createRequire } from 'node:module';
import { checkSkills } from '../agent/check-skills.js';
import { resolveCaches } from '../agent/resolve-caches.js';
import type { LoadedConfig } from '../config/index.js';
import { isAgentUpError, messageOf } from '../errors.js';
import { redactText } from '../redact.js';
import { countText, isReported } from './findings-report.js';
import { openConfig } from './open-config.js';
import { ownPackage } from './own-package.js';
import type { PlaceFlags } from './place.js';
import { probeOptions, probeStorage, timesText } from './probe-storage.js';
import type { Terminal } from './terminal.js';
import { type CompilerOptions, compilerOptions, findTsconfig } from './tsconfig-file.js';

/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly message: string;
  /** What to do where it is not `ok`. */
  readonly fix?: string | undefined;
}

/** Is this Node new enough? */
export async function checkNode(): Promise<Check> {
  const { engines } = await ownPackage();
  const [wanted, actual] = [engines.node.replace(/^\D+/, ''), process.versions.node];
  const name = 'Node';
  if (atLeast(actual, wanted)) return { name, status: 'ok', message: actual };
  return { name, status: 'fail', message: `${actual} is too old`, fix: `install Node ${wanted} or newer` };
}

/** Is there a configuration, and is it valid? */
export async function checkConfig(
  flags: PlaceFlags,
  terminal: Terminal,
): Promise<{ check: Check; loaded: LoadedConfig | undefined }> {
  const name = 'configuration';
  try {
    const loaded = await openConfig(flags, terminal);
    return { check: { name, status: 'ok', message: loaded.file }, loaded };
  } catch (error) {
    const missing = isAgentUpError(error, 'CONFIG_NOT_FOUND');
    const fix = missing ? 'run: npx agentup init' : 'run: npx agentup validate-config';
    return { check: { name, status: 'fail', message: sentence(error), fix }, loaded: undefined };
  }
}

/** Can the project's TypeScript be run, and with which decorators? */
export function checkTypeScript(loaded: LoadedConfig | undefined, cwd: string): Check {
  const name = 'TypeScript';
  try {
    createRequire(import.meta.url).resolve('tsx/esm/api');
  } catch {
    return { name, status: 'fail', message: 'tsx, which runs TypeScript, is not installed', fix: 'run: npm install' };
  }
  const file = findTsconfig(loaded?.directory ?? cwd);
  if (file === undefined) {
    return {
      name,
      status: 'warn',
      message: 'there is no tsconfig.json; decorators run in the standard dialect',
      fix: 'add a tsconfig.json with "strict" and "experimentalDecorators", as agentup init writes it',
    };
  }
  let options: CompilerOptions;
  try {
    options = compilerOptions(file);
  } catch (error) {
    return { name, status: 'fail', message: firstLine(error), fix: 'correct the file' };
  }
  const dialect = options.experimentalDecorators ? 'legacy decorators' : 'standard decorators';
  if (options.strict) return { name, status: 'ok', message: `${file}: strict, ${dialect}` };
  return { name, status: 'warn', message: `${file}: not strict, ${dialect}`, fix: 'set "strict": true' };
}

/** Does the configured storage take, give back and remove a conversation? */
export async function checkStorage({ config, directory }: LoadedConfig): Promise<Check> {
  const name = 'storage';
  try {
    const message = timesText(await probeStorage(config.state, directory));
    if (config.state?.backend !== 'memory') return { name, status: 'ok', message };
    return {
      name,
      status: 'warn',
      message: `${message}; it forgets when the process ends`,
      fix: 'set state.backend to file or valkey',
    };
  } catch (error) {
    const fix = isAgentUpError(error) ? error.details.fix : undefined;
    return {
      name,
      status: 'fail',
      message: firstLine(error),
      fix: fix ?? 'start the server, or correct state in the configuration',
    };
  }
}

/** The same for the service that the caches are on, where they have one of their own. */
export async function checkCaches({ config }: LoadedConfig): Promise<Check[]> {
  const options = resolveCaches(config);
  if (!options) return [];
  const name = 'caches';
  try {
    return [{ name, status: 'ok', message: timesText(await probeOptions(options)) }];
  } catch (error) {
    const fix = `start the server, or correct services.${config.caches.service} in the configuration`;
    return [{ name, status: 'fail', message: firstLine(error), fix }];
  }
}

/** Does the code of every skill load? */
export async function checkSkillsLoad(loaded: LoadedConfig): Promise<Check> {
  const name = 'skills';
  const findings = await checkSkills(loaded);
  const count = loaded.config.skills.length;
  const worst = findings.find(({ severity }) => severity === 'error') ?? findings[0];
  if (worst) {
    const status = worst.severity === 'error' ? 'fail' : 'warn';
    return { name, status, message: `${worst.message} (${countText(findings)})`, fix: worst.fix };
  }
  if (count === 0) return { name, status: 'warn', message: 'there are none', fix: 'run: npx agentup skill create' };
  return { name, status: 'ok', message: `${count} loaded: ${loaded.config.skills.map(({ id }) => id).join(', ')}` };
}

function atLeast(actual: string, wanted: string): boolean {
  const [a, b] = [actual, wanted].map((version) => version.split('.').map(Number));
  for (let index = 0; index < 3; index++) {
    const difference = (a?.[index] ?? 0) - (b?.[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Of a configuration with errors the first of them as well, and how many there are. */
function sentence(error: unknown): string {
  const findings = isAgentUpError(error, 'CONFIG_INVALID') ? (error.details.issues ?? []).filter(isReported) : [];
  const first = findings.find(({ severity }) => severity === 'error');
  if (!first) return firstLine(error);
  return redactText(`line ${first.line}: ${first.message} (${countText(findings)})`);
}

function firstLine(error: unknown): string {
  return redactText(messageOf(error)).split('\n')[0] ?? '';
}
