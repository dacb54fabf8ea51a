export { SKILL_ID, suggestSkillId } from '../skill-id.js';
export { ConfigDocument, type Location } from './config-document.js';
export { addSkill, setDefaultSkill, setState, stateAsWritten } from './edit-config.js';
export { CONFIG_FILE, findConfig } from './find-config.js';
export {
  FINDING_CODES,
  type Finding,
  type FindingCode,
  type Path,
  type Problem,
  pathText,
  type Severity,
} from './finding.js';
export { type Environment, escapeInterpolation, interpolate } from './interpolate.js';
export { configJsonSchema } from './json-schema.js';
export {
  type FileValidation,
  type LoadedConfig,
  type LoadOptions,
  loadConfig,
  parseConfig,
  validateConfigFile,
} from './load-config.js';
export { configReference, type ReferenceEntry, referenceMarkdown } from './reference.js';
export {
  type AgentConfig,
  type AgentConfigInput,
  BACKEND_OPTIONS,
  BACKENDS,
  type CachesConfig,
  type ConversationsConfig,
  configSchema,
  type SecurityConfig,
  type ServerConfig,
  type SkillConfig,
  type SkillConfigInput,
  type StateConfig,
  type StateConfigInput,
} from './schema.js';
export type { SyncConfig } from './sync-schema.js';
export { type ValidateOptions, type Validation, validateConfigText } from './validate-config-text.js';
