/** Flags of commands of every kind, as commander's `option()` takes them. */
export const CONFIG = [
  '--config <file>',
  'the configuration, instead of the agent_config.yaml found from here upwards',
] as const;
export const CWD = ['--cwd <dir>', 'work as if started in this directory'] as const;
export const JSON_FLAG = ['--json', 'print JSON and nothing else; never ask'] as const;
export const FORCE = ['--force', 'replace what is in the way'] as const;
