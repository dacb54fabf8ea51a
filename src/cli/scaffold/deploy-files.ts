import { stringify } from 'yaml';
import { fill } from './fill.js';
import type { PlannedFile } from './plan.js';

export interface DeployAnswers {
  /** The name of the image and of the project in compose. */
  readonly imageName: string;
  readonly backend: 'memory' | 'file' | 'valkey';
  /** Files: the directory, relative to the project. */
  readonly storageDir: string;
  /** Valkey: the variable of the environment that `state.url` is read from, where it is from one. */
  readonly urlVariable: string | undefined;
  /** Further variables that the configuration reads and that have no default. */
  readonly variables: readonly string[];
  /** Seconds that running turns have to end when the server stops. */
  readonly stopTimeout: number;
  /** Nobody is asked who they are: the port is published on this machine only. */
  readonly anonymous: boolean;
}

/** What a stop takes at most once running turns had their time, in seconds. */
const AFTER_TURNS_S = 25;

/** The files under `templates/deploy`, as text. */
export interface DeployTemplates {
  readonly dockerfile: string;
  readonly dockerignore: string;
}

/** What it takes to run an agent in containers. */
export function deployFiles(answers: DeployAnswers, { dockerfile, dockerignore }: DeployTemplates): PlannedFile[] {
  const tokens = { 'template-image': answers.imageName, 'template-state': stateDirectory(answers.storageDir) };
  return [
    { path: 'Dockerfile', content: fill(dockerfile, tokens) },
    { path: '.dockerignore', content: fill(dockerignore, tokens) },
    { path: 'compose.yaml', content: composeFile(answers) },
  ];
}

function composeFile(answers: DeployAnswers): string {
  const { imageName, backend, storageDir, urlVariable, variables, stopTimeout, anonymous } = answers;
  const onValkey = backend === 'valkey';
  const environment = {
    ...(onValkey && { [urlVariable ?? 'VALKEY_URL']: 'valkey://valkey:6379' }),
    // Compose takes them from its own environment or from .env, and says so where they are missing.
    ...Object.fromEntries(variables.map((name) => [name, `\${${name}:?set ${name}, for example in .env}`])),
  };
  const agent = {
    build: '.',
    image: imageName,
    restart: 'unless-stopped',
    ports: [anonymous ? '127.0.0.1:8000:8000' : '8000:8000'],
    ...(anonymous && {
      command: `node node_modules/agentup/bin/agentup.js run --host 0.0.0.0 --port 8000 --allow-anonymous`.split(' '),
    }),
    ...(Object.keys(environment).length > 0 && { environment }),
    ...(onValkey && { depends_on: { valkey: { condition: 'service_healthy' } } }),
    ...(backend === 'file' && { volumes: [`conversations:/app/${stateDirectory(storageDir)}`] }),
    // So that running turns can end, and what is cancelled then.
    stop_grace_period: `${stopTimeout + AFTER_TURNS_S}s`,
    read_only: true,
    tmpfs: ['/tmp'],
    security_opt: ['no-new-privileges:true'],
    cap_drop: ['ALL'],
  };
  const valkey = {
    image: 'valkey/valkey:8.0-alpine',
    restart: 'unless-stopped',
    command: ['valkey-server', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction'],
    volumes: ['conversations:/data'],
    healthcheck: { test: ['CMD', 'valkey-cli', 'ping'], interval: '5s', timeout: '3s', retries: 10 },
  };
  const content = {
    name: imageName,
    services: { agent, ...(onValkey && { valkey }) },
    ...(backend !== 'memory' && { volumes: { conversations: {} } }),
  };
  return `# Made by \`agentup deploy docker\`. Start: docker compose up --build\n${stringify(content, { lineWidth: 0, compat: 'yaml-1.1' })}`;
}

/** Without `./` and what is behind the last `/`. */
function stateDirectory(path: string): string {
  return path.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '') || 'conversation_states';
}
