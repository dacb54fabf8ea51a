import { inlineYaml } from '../../config/yaml-text.js';
import type { BackendName } from '../../storage/open-storage.js';

/** Where conversations are to be kept, in the words of `agent_config.yaml`. What is absent takes its default. */
export interface StateAnswers {
  readonly backend: BackendName;
  readonly url?: string | undefined;
  readonly key_prefix?: string | undefined;
  readonly storage_dir?: string | undefined;
  readonly ttl?: number | 'none' | undefined;
}

/** What is offered where nothing is said. The url is read from the environment, so that no secret lands in the file. */
export const STATE_DEFAULTS = {
  url: '${VALKEY_URL:valkey://localhost:6379}',
  key_prefix: 'agentup:state:',
  storage_dir: './conversation_states',
} as const;

/** The `state:` section on one line. In its texts `${NAME}` means the environment variable. */
export function stateLine(state: StateAnswers): string {
  return `state: ${inlineYaml({ ...state })}`;
}
