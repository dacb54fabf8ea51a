import { relative } from 'node:path';
import { checkSkills } from '../../agent/check-skills.js';
import { resolveCaches } from '../../agent/resolve-caches.js';
import { resolveState } from '../../agent/resolve-state.js';
import { type FileValidation, type Finding, type Path, pathText, validateConfigFile } from '../../config/index.js';
import { isAgentUpError, messageOf } from '../../errors.js';
import { redactText } from '../../redact.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { countText, findingsReport, type Reported } from '../findings-report.js';
import { usage } from '../interview.js';
import { type PlaceFlags, workingDirectory } from '../place.js';
import { probeOptions, timesText } from '../probe-storage.js';
import type { Terminal } from '../terminal.js';

export interface ValidateConfigOptions extends PlaceFlags {
  readonly file?: string;
  readonly strict?: boolean;
  readonly connect?: boolean;
  readonly json?: boolean;
}

interface Checked {
  readonly findings: readonly Reported[];
  readonly skills: number;
  readonly times: readonly string[];
}

/** `agentup validate-config [file]`: everything that is wrong with a configuration, at once. */
export async function run(options: ValidateConfigOptions, terminal: Terminal): Promise<ExitCode> {
  if (options.file !== undefined && options.config !== undefined && options.file !== options.config) {
    throw usage('the file is named twice, as the argument and with --config');
  }
  const cwd = workingDirectory(options, terminal);
  const source = validateConfigFile({ file: options.file ?? options.config, cwd, env: terminal.env });
  const checked = await check(source, options);
  const valid = !checked.findings.some(({ severity }) => severity === 'error' || options.strict);
  if (options.json) terminal.json({ valid, findings: checked.findings.map(plain) });
  else print(checked, valid, relative(terminal.cwd, source.file) || source.file, terminal);
  return valid ? EXIT.done : EXIT.failed;
}

async function check(source: FileValidation, { connect }: ValidateConfigOptions): Promise<Checked> {
  const { config, document, directory, state } = source;
  const findings: Reported[] = [...source.findings, ...(await checkSkills(source))].sort(byPlace);
  const skills = config?.skills.length ?? 0;
  // What would be connected to is not known while that section is wrong.
  const targets: Target[] =
    connect && state ? [{ path: ['state'], options: resolveState(state, {}, directory).storage }] : [];
  const caches = connect && config && resolveCaches(config);
  if (caches) targets.push({ path: ['services', config.caches.service ?? ''], options: caches });
  const times: string[] = [];
  for (const { path, options } of targets) {
    try {
      times.push(timesText(await probeOptions(options)));
    } catch (error) {
      findings.push(unreachable(error, path, document));
    }
  }
  return { findings, skills, times };
}

/** What `--connect` tries. */
interface Target {
  readonly path: Path;
  readonly options: Parameters<typeof probeOptions>[0];
}

function unreachable(error: unknown, path: Path, document: FileValidation['document']): Reported {
  const { line, column, frame } = document.locate(path);
  return {
    code: isAgentUpError(error) ? error.code : 'STORAGE_FAILED',
    severity: 'error',
    path: pathText(path),
    line,
    column,
    frame,
    message: `the storage ${path[0] === 'state' ? '' : 'of the caches '}does not work: ${redactText(messageOf(error))}`,
    fix: (isAgentUpError(error) && error.details.fix) || `start the server, or correct \`${pathText(path)}\``,
  };
}

function print({ findings, skills, times }: Checked, valid: boolean, file: string, terminal: Terminal): void {
  const { bold, green, red, yellow } = terminal.style;
  if (findings.length > 0) terminal.result(`${findingsReport(findings, file, terminal.style)}\n`);
  for (const text of times) terminal.result(`${green('connected')} ${text}`);
  const counts = countText(findings);
  if (!valid) terminal.result(`${red(bold('invalid'))} ${file}: ${counts}`);
  else if (counts !== '') terminal.result(`${yellow(bold('valid'))} ${file}: ${counts}`);
  else
    terminal.result(
      `${green(bold('valid'))} ${file}: ${skills} skill${skills === 1 ? '' : 's'}, nothing to complain about`,
    );
}

/** The shape of `--json`: a contract. */
function plain({ code, severity, path, line, column, message, fix }: Reported) {
  return { code, severity, path, line, column, message, fix: fix ?? null };
}

function byPlace(a: Finding, b: Finding): number {
  return a.line - b.line || a.column - b.column;
}
