export type {
  ContextInput,
  ConversationLookup,
  ConversationPage,
  ConversationResource,
  CreateInput,
  IntentInput,
  MessageInput,
  SyncInput,
  TenantLookup,
} from '../conversation-api/schemas.js';
export { type AutoSyncOptions, autoSyncState } from './auto-sync-state.js';
export {
  type Answer,
  type CallOptions,
  ConversationClient,
  type ConversationClientOptions,
  type WriteOptions,
} from './conversation-client.js';
export { ConversationSync } from './conversation-sync.js';
export { type CreateSyncOptions, createSync } from './create-sync.js';
export type { DeadLetter } from './dead-letters.js';
export type { SyncDecorator, SyncDecoratorOptions, SyncedMethod } from './decorator-target.js';
export type { AtLimit, OutboxOptions } from './outbox.js';
export type { SyncTarget, Work } from './outbox-entry.js';
export type { Merge, Preference, RemoteMessage, SyncConflict } from './pull.js';
export type { Backoff } from './retry.js';
export { cartaaiMapping, type IntentRule, type RemoteField, type StateMapping } from './state-mapping.js';
export type { SyncEvents } from './sync-events.js';
export type {
  ConversationSyncOptions,
  PullOptions,
  PullResult,
  SyncReceipt,
  SyncStatus,
  SyncUser,
} from './sync-types.js';
export { SyncedConversation } from './synced-conversation.js';
export { type TrackedRole, trackMessages } from './track-messages.js';
