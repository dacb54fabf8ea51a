export { Agent, type CloseOptions, type HandleOptions, type Reply, type RouteOptions } from './agent/agent.js';
export type {
  AgentConversations,
  ConversationPlace,
  EndOptions,
  ListOptions,
  StartOptions,
  WatchOptions,
} from './agent/agent-conversations.js';
export { type CreateAgentOptions, createAgent } from './agent/create-agent.js';
export { closeStorages } from './agent/default-runtime.js';
export type { LoadedSkill, SkillTarget } from './agent/load-skill.js';
export { type Clock, systemClock } from './clock.js';
export type { AgentConfig, AgentConfigInput, Finding, FindingCode, Severity, SkillConfig } from './config/index.js';
export {
  type BudgetedHistoryOptions,
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
export {
  type AiSdkAssistantPart,
  type AiSdkMessage,
  type AiSdkToolResult,
  type ModelMessagesOptions,
  type OpenAiMessage,
  type OpenAiToolCall,
  type ToolCall,
  toModelMessages,
} from './conversation/model-messages.js';
export { estimateTokens, type TokenCounter } from './conversation/token-budget.js';
export { AgentUpError, type ErrorCode, type ErrorDetails, isAgentUpError } from './errors.js';
export type { JsonValue } from './json.js';
export { type Logger, silentLogger, stderrLogger } from './logger.js';
export { type HandlerDecorator, handler } from './skill/handler.js';
export { type HandlerMetadata, handlerMetadata } from './skill/handler-metadata.js';
export {
  type ConversationEvent,
  type EndedEvent,
  type ErrorEvent,
  type HookDecorator,
  type HookMethod,
  onConversationEnded,
  onConversationStarted,
  onError,
  onToolCalled,
  onToolCompleted,
  type StartedEvent,
  type ToolCalledEvent,
  type ToolCompletedEvent,
} from './skill/hooks.js';
export { injected } from './skill/injected.js';
export { type InputRequired, inputRequired, isInputRequired } from './skill/input-required.js';
export { skill } from './skill/skill.js';
export { type StatefulDecorator, type StatefulMethod, stateful } from './skill/stateful.js';
export type { StatefulOptions } from './skill/stateful-options.js';
export type { ReplyStream } from './skill/stream-turn.js';
export { type Task, type TaskPart, textOf } from './skill/task.js';
export { type ToolDecorator, type ToolMethod, tool } from './skill/tool.js';
export { type ToolBox, type ToolCallOptions, toolsOf } from './skill/tool-box.js';
export {
  type JsonSchema,
  type ToolInfo,
  type ToolOptions,
  type ToolStateOptions,
  toOpenAiTool,
  toolResultText,
} from './skill/tool-metadata.js';
export { type StatefulFunction, type StreamingFunction, withState } from './skill/with-state.js';
export type { InputOf, OutputOf, StandardSchema } from './standard-schema.js';
export { FileStorage, type FileStorageOptions } from './storage/file/file-storage.js';
export { MemoryStorage, type MemoryStorageOptions } from './storage/memory-storage.js';
export type { StateStorage } from './storage/state-storage.js';
export type { ValkeyClient } from './storage/valkey/valkey-connection.js';
export { ValkeyStorage } from './storage/valkey/valkey-storage.js';
export type { ValkeyStorageOptions } from './storage/valkey/valkey-storage-options.js';
