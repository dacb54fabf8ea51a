import { readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { AgentUpError } from '../../errors.js';
import { EXIT, type ExitCode } from '../exit-codes.js';
import { openConfig } from '../open-config.js';
import type { PlaceFlags } from '../place.js';
import { reportOutcomes } from '../report-outcomes.js';
import { deployFiles } from '../scaffold/deploy-files.js';
import { packageNameFor } from '../scaffold/names.js';
import { readDeployTemplates } from '../scaffold/read-templates.js';
import type { Terminal } from '../terminal.js';
import { writePlan } from '../write-plan.js';

export interface DeployOptions extends PlaceFlags {
  readonly name?: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `agentup deploy docker`: what it takes to run the agent in containers, beside its configuration. */
export async function run(options: DeployOptions, terminal: Terminal): Promise<ExitCode> {
  const { config, directory, document } = await openConfig(options, terminal, stopgap);
  const { backend, storage_dir } = config.state;
  if (backend === 'file' && (isAbsolute(storage_dir) || storage_dir.split('/').includes('..'))) {
    throw new AgentUpError('USAGE', 'state.storage_dir lies outside the project, and so outside the container', {
      fix: 'give a directory inside the project, or keep conversations on Valkey',
    });
  }
  const urlVariable = variablesIn(document.sourceAt(['state', 'url']) ?? '')[0]?.name;
  const variables = variablesIn(document.text)
    .filter(({ name, owed }) => owed && name !== urlVariable)
    .map(({ name }) => name);
  const planned = deployFiles(
    {
      imageName: packageNameFor(options.name ?? config.agent.name),
      backend,
      storageDir: storage_dir,
      urlVariable,
      variables: [...new Set(variables)],
      stopTimeout: config.server.stop_timeout,
      anonymous: config.security.auth === 'none',
    },
    await readDeployTemplates(),
  );
  const outcomes = await writePlan(directory, planned, options);
  reportOutcomes(terminal, options, { directory, outcomes, next: ['docker compose up --build'] });
  if (options.json) return EXIT.done;
  if (backend === 'memory') terminal.note('state.backend is memory: the agent forgets everything when it restarts.');
  if (backend === 'valkey' && urlVariable === undefined) {
    terminal.note(
      'state.url is fixed in the configuration. Write `url: "${VALKEY_URL:…}"`, or the agent looks for Valkey there.',
    );
  }
  if (config.server.url === undefined) {
    terminal.note('server.url is not set: write there where clients reach the agent, or its card leads nowhere.');
  }
  const local = localDependencies(directory);
  if (local.length > 0) {
    terminal.note(
      `package.json takes ${local.join(', ')} from this machine (file:), which the build of the image does not see: ` +
        'name a version, or copy it in the Dockerfile before the install.',
    );
  }
  return EXIT.done;
}

/** Only `package.json` and its lock are there when the image installs its dependencies. */
function localDependencies(directory: string): string[] {
  try {
    const { dependencies = {} } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, unknown>;
    };
    return Object.keys(dependencies).filter((name) => /^(file|link):/.test(String(dependencies[name])));
  } catch {
    return []; // What is wrong with it npm says better.
  }
}

/** Secrets are not on the machine that writes the files: the configuration is read as if something stood there. */
const STOPGAP = 'a'.repeat(64);

function stopgap(text: string): Record<string, string> {
  return Object.fromEntries(variablesIn(text).flatMap(({ name, owed }) => (owed ? [[name, STOPGAP]] : [])));
}

/** The variables of the environment that a text refers to; `owed`: without a default. Not those in comments. */
function variablesIn(text: string): { name: string; owed: boolean }[] {
  const code = text.replace(/(?:^|\s)#.*$/gm, '');
  return [...code.matchAll(/(?<!\$)\$\{([A-Za-z_]\w*)(:?)/g)].map(([, name = '', colon]) => ({
    name,
    owed: colon === '',
  }));
}
