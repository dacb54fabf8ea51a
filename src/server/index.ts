export { agentCardOf } from './a2a/agent-card.js';
export { StatefulExecutor } from './a2a/agent-executor.js';
export { Caller } from './a2a/caller.js';
export { StateTaskStore, type TaskStoreOptions } from './a2a/task-store.js';
export { FileTaskStore, MemoryTaskStore, ValkeyTaskStore } from './a2a/task-stores.js';
export { AgentServer, type AgentServerOptions, createAgentServer } from './agent-server.js';
export { createConversationApi } from './conversations/conversation-api.js';
export type { Identity } from './identity.js';
