import type { StateStorage } from '../storage/state-storage.js';
import type { Task } from './task.js';

/** How a handler keeps its state. What is not given here comes from `state` in `agent_config.yaml`. */
export interface StatefulOptions<T = Task> {
  /** The backend, or a storage of your own (which you close yourself). */
  readonly storage?: 'memory' | 'file' | 'valkey' | StateStorage | undefined;
  /** Valkey: `valkey://host:port`, `valkeys://` for TLS. */
  readonly url?: string | undefined;
  /** Valkey: what every key begins with. */
  readonly keyPrefix?: string | undefined;
  /** Seconds until an untouched conversation expires. */
  readonly ttl?: number | 'none' | undefined;
  /** Files: the directory. */
  readonly storageDir?: string | undefined;
  /** `serial` (default): turns of one conversation never overlap. `parallel`: they may; their changes merge. */
  readonly concurrency?: 'serial' | 'parallel' | undefined;
  /** Whose memory it is: the conversation's (default), the user's over all conversations, or the user's in this one. */
  readonly scope?: 'conversation' | 'user' | 'session' | undefined;
  /** Messages loaded when the turn begins. Older ones are fetched when asked for. Default 20. */
  readonly history?: number | undefined;
  /** The context id of a task. Default: `task.contextId`, else `task.id`. */
  readonly contextId?: ((task: T) => string) | undefined;
  /**
   * The id of the message that a task brings; default: its `messageId`. A message whose turn was committed is not
   * handled again: its redelivery is answered with the stored reply. `undefined` for a task that names no message;
   * `false`: every task is handled.
   */
  readonly dedupe?: ((task: T) => string | undefined) | false | undefined;
  /**
   * When the storage cannot be reached: `fail` (default) with `STORAGE_UNAVAILABLE`, or `degrade`: the handler runs
   * with an empty memory that is not kept, and `context.degraded` is true.
   */
  readonly onUnavailable?: 'fail' | 'degrade' | undefined;
}
