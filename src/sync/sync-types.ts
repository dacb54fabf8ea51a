import type { Clock } from '../clock.js';
import type { Conversation } from '../conversation/conversation.js';
import type { ConversationResource } from '../conversation-api/schemas.js';
import type { AgentUpError } from '../errors.js';
import type { Logger } from '../logger.js';
import type { StateStorage } from '../storage/state-storage.js';
import type { ConversationClient, ConversationClientOptions } from './conversation-client.js';
import type { OutboxOptions } from './outbox.js';
import type { SyncTarget } from './outbox-entry.js';
import type { Merge, Preference, RemoteMessage } from './pull.js';
import type { Backoff } from './retry.js';
import type { StateMapping } from './state-mapping.js';

export interface ConversationSyncOptions {
  /** Where the outbox lies: the app's own storage, the one its turns are on. */
  readonly storage: StateStorage;
  /** The remote. Absent where `enabled` is false. */
  readonly client?: ConversationClient | Omit<ConversationClientOptions, 'clock' | 'random'> | undefined;
  /** `false`: nothing is noted, sent or read. Default true. */
  readonly enabled?: boolean | undefined;
  /** The tenant of users that come without one. */
  readonly subDomain?: string | undefined;
  /** Default: `cartaaiMapping`. */
  readonly mapping?: StateMapping | undefined;
  readonly outbox?: OutboxOptions | undefined;
  /** Longest that a call waits until its change lies in the outbox, in milliseconds. Default 2000. */
  readonly boundMs?: number | undefined;
  /** How this app's messages are marked (`metadata.source`), so that `pull` knows others'. Default `agentup`. */
  readonly source?: string | undefined;
  /** Who is right where both sides have changed a field. Default `local`. */
  readonly prefer?: Preference | undefined;
  /** Send in the background. `false`: only `flush` sends. Default true. */
  readonly background?: boolean | undefined;
  /** How often the outbox is looked through for what was left behind, in milliseconds. Default 5000. */
  readonly everyMs?: number | undefined;
  /** Pauses after a failure, in milliseconds. Default from 500 to 30000. */
  readonly backoff?: Backoff | undefined;
  /** After so many milliseconds without a sign of life another process sends what one had begun to. Default 30000. */
  readonly leaseMs?: number | undefined;
  /** Most conversations that are sent at once. Default 8. */
  readonly concurrency?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
  readonly logger?: Logger | undefined;
}

/** A user: the id alone, or with what else is known. */
export type SyncUser = string | (Omit<SyncTarget, 'subDomain'> & { readonly subDomain?: string | undefined });

/** What became of a call. None of them throws. */
export interface SyncReceipt {
  /**
   * `queued`: it lies in the outbox, or is part of the running turn's commit, and will be sent. `rejected`: the outbox
   * is full. `failed`: it could not be noted in time, or cannot be. `disabled`: sync is off.
   */
  readonly status: 'queued' | 'rejected' | 'failed' | 'disabled';
  readonly error?: AgentUpError;
}

/** How the sync is. Times are ISO 8601 UTC. */
export interface SyncStatus {
  readonly enabled: boolean;
  /** Entries that the remote has not acknowledged, and of how many conversations; of those that can be read. */
  readonly pending: number;
  readonly conversations: number;
  /** When the oldest of them was noted. */
  readonly oldest?: string;
  /** Entries of the last ten minutes and of what is pending that the bound has cost. */
  readonly dropped: number;
  /** Entries that the remote refused for good. */
  readonly dead: number;
  /** Entries that this process has brought to the remote. */
  readonly sent: number;
  readonly lastSuccess?: string;
  readonly lastError?: { readonly at: string; readonly code: string; readonly message: string };
  /** The remote is down, and asked again then. */
  readonly pausedUntil?: string;
}

export interface PullOptions {
  /** The local conversation: its variables are the state, and take over what has changed. */
  readonly into?: Conversation | undefined;
  /** The state, where it lies elsewhere; the result has the new one. */
  readonly state?: Readonly<Record<string, unknown>> | undefined;
  readonly prefer?: Preference | undefined;
}

export interface PullResult extends Partial<Omit<Merge, 'base'>> {
  /** `absent`: the remote has no active conversation of this user. */
  readonly status: 'pulled' | 'absent' | 'failed' | 'disabled';
  readonly remote?: ConversationResource;
  readonly messages?: readonly RemoteMessage[];
  readonly error?: AgentUpError;
}
