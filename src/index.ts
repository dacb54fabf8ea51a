export { Agent, type HandleOptions, type Reply, type RouteOptions } from './agent/agent.js';
export { type CreateAgentOptions, createAgent } from './agent/create-agent.js';
export { closeStorages } from './agent/default-runtime.js';
export type { LoadedSkill, SkillTarget } from './agent/load-skill.js';
export { type Clock, systemClock } from './clock.js';
export type { AgentConfig, AgentConfigInput, Finding } from './config/index.js';
export {
  Conversation,
  type ConversationState,
  type HistoryOptions,
  type HistoryPage,
  type SchemaOptions,
} from './conversation/conversation.js';
export {
  ConversationContext,
  type ConversationContextOptions,
  type ConversationInfo,
  type ConversationScope,
} from './conversation/conversation-context.js';
export type { ConversationLimits } from './conversation/limits.js';
export type { Message, Role, RoleInput } from './conversation/message.js';
export { AgentUpError, type ErrorCode, type ErrorDetails, isAgentUpError } from './errors.js';
export type { JsonValue } from './json.js';
export { type Logger, silentLogger, stderrLogger } from './logger.js';
export { handler } from './skill/handler.js';
export { type HandlerMetadata, handlerMetadata } from './skill/handler-metadata.js';
export { injected } from './skill/injected.js';
export { type InputRequired, inputRequired, isInputRequired } from './skill/input-required.js';
export { skill } from './skill/skill.js';
export { type StatefulDecorator, type StatefulMethod, stateful } from './skill/stateful.js';
export type { StatefulOptions } from './skill/stateful-options.js';
export type { ReplyStream } from './skill/stream-turn.js';
export { type Task, type TaskPart, textOf } from './skill/task.js';
export { type StatefulFunction, type StreamingFunction, withState } from './skill/with-state.js';
export type { OutputOf, StandardSchema } from './standard-schema.js';
export { FileStorage, type FileStorageOptions } from './storage/file/file-storage.js';
export { MemoryStorage, type MemoryStorageOptions } from './storage/memory-storage.js';
export type { StateStorage } from './storage/state-storage.js';
export { ValkeyStorage, type ValkeyStorageOptions } from './storage/valkey/valkey-storage.js';
