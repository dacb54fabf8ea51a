import { redactUrl } from '../redact.js';

/** How bad a finding is. An agent starts with warnings, not with errors. */
export type Severity = 'error' | 'warning';

/** Every code a finding can have, how bad it is, and what it means. The documentation lists them all. */
export const FINDING_CODES = {
  FILE_UNREADABLE: ['error', 'The file is there but cannot be read.'],
  NOT_UTF8: ['error', 'The file is not UTF-8 text.'],
  EMPTY_FILE: ['error', 'The file holds nothing but white space and comments.'],
  YAML_SYNTAX: ['error', 'The file is not YAML at this place.'],
  TAB_INDENT: ['error', 'A line is indented with a tab; YAML takes spaces only.'],
  DUPLICATE_KEY: ['error', 'A key is given twice in one map.'],
  MULTIPLE_DOCUMENTS: ['error', 'The file holds several YAML documents.'],
  YAML_ALIAS: ['error', 'An alias has no anchor, contains itself, or grows beyond measure.'],
  YAML_TAG: ['error', 'A value has a YAML tag that means nothing here.'],
  ENV_UNSET: ['error', 'A variable of the environment has no value, and no default is given.'],
  ENV_SYNTAX: ['error', 'A `${…}` that is not `${NAME}` or `${NAME:default}`.'],
  ENV_DASH: ['warning', 'A default written as in a shell, `${NAME:-default}`: the dash becomes part of it.'],
  UNKNOWN_KEY: ['error', 'A key that does not belong here.'],
  MISSING_KEY: ['error', 'A key that must be given is missing.'],
  WRONG_TYPE: ['error', 'A value of another type than the key takes.'],
  INVALID_VALUE: ['error', 'A value of the right type that the key does not take.'],
  BACKEND_UNKNOWN: ['error', '`state.backend` names no backend.'],
  TTL_INVALID: ['error', '`state.ttl` is neither a whole number of seconds from 1 on nor `none`.'],
  URL_MISSING: [
    'error',
    'The backend is `valkey` and `state.url` is missing, or caches are on a service without a url.',
  ],
  URL_INVALID: ['error', '`state.url`, or that of the service that caches are on, is not the URL of a Valkey server.'],
  KEY_PREFIX_MISSING: ['error', 'The backend is `valkey` and `state.key_prefix` is missing.'],
  OPTION_UNUSED: ['warning', 'An option of another backend than the chosen one; it does nothing.'],
  SERVICE_UNKNOWN: ['error', '`caches.service` names no service of `services`.'],
  SERVICE_TYPE: ['error', '`caches.service` names a service that caches cannot be kept on.'],
  STORAGE_DIR_UNWRITABLE: ['error', '`state.storage_dir` cannot be written to or created.'],
  SKILL_ID_INVALID: ['error', 'A skill id with other characters than ids have, or longer than 64.'],
  SKILL_ID_DUPLICATE: ['error', 'Two skills have the same id.'],
  PATTERN_INVALID: ['error', 'A pattern that is not a regular expression.'],
  DEFAULT_SKILL_UNKNOWN: ['error', '`agent.default_skill` names no skill of the list.'],
  AUTH_INCOMPLETE: ['error', '`security.auth` asks for something that is not given.'],
  SECRET_IN_FILE: ['warning', 'A secret stands in the file; it belongs into the environment.'],
  HANDLER_NOT_FOUND: ['error', 'The file of a handler does not exist.'],
  HANDLER_LOAD_FAILED: ['error', 'The file of a handler cannot be loaded, or its class not be made.'],
  EXPORT_NOT_FOUND: ['error', 'The file of a handler has no export of the name behind `#`.'],
  HANDLER_NOT_DECORATED: ['error', 'No method of the handler is decorated, or it is not clear which one to call.'],
  TOOL_NAME_TAKEN: ['error', 'Two tools have the same name.'],
  SKILL_ID_MISMATCH: ['warning', 'The id in `@skill({ id })` is not the one in the configuration.'],
  STATE_OVERRIDDEN: ['warning', 'A handler keeps its state otherwise than the `state` section says.'],
  STATE_UNRESOLVED: ['error', 'The options of a handler and the `state` section do not make a storage together.'],
} as const satisfies Record<string, readonly [Severity, string]>;

/** Stable names: tools may rely on them. */
export type FindingCode = keyof typeof FINDING_CODES;

/** Where something is in a configuration: keys and indexes from the root. */
export type Path = readonly (string | number)[];

/** One thing that is wrong with a configuration, and where. Never shows a secret. */
export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** `state.url`, `skills[1].id`; empty where it is about the file. */
  readonly path: string;
  /** From 1 on; columns count UTF-16 units, as editors do. */
  readonly line: number;
  readonly column: number;
  /** One sentence that stands alone. */
  readonly message: string;
  /** What to do about it. */
  readonly fix?: string;
  /** The lines around it, numbered, with carets below the place; no colours. Empty where there are no lines. */
  readonly frame: string;
}

/** A finding before it has a place. */
export interface Problem {
  readonly code: FindingCode;
  /** What it is about; the value's place is the finding's unless `at` or `range` says otherwise. */
  readonly path: Path;
  readonly message: string;
  readonly fix?: string | undefined;
  /** The path to point at. */
  readonly at?: Path | undefined;
  /** Point at the key and not at its value. */
  readonly onKey?: boolean | undefined;
  /** Offsets in the text to point at. */
  readonly range?: readonly [number, number] | undefined;
}

const PLAIN_KEY = /^[\w-]+$/;

/** A path as people write it. */
export function pathText(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === 'number') return `[${step}]`;
      if (!PLAIN_KEY.test(step)) return `[${JSON.stringify(redactUrl(step))}]`;
      return index === 0 ? step : `.${step}`;
    })
    .join('');
}

/** A path as the key of a map or set. */
export function pathKey(path: Path): string {
  return JSON.stringify(path);
}
