import type { RoleInput } from '../conversation/message.js';
import type { JsonValue } from '../json.js';
import type { ConversationSync } from './conversation-sync.js';
import type { PullOptions, PullResult, SyncReceipt, SyncUser } from './sync-types.js';

/** The handle to one user's conversation with the remote: the calls of `ConversationSync` without the user. */
export class SyncedConversation {
  readonly user: SyncUser;
  readonly #sync: ConversationSync;
  readonly #noting = new Set<Promise<unknown>>();

  constructor(sync: ConversationSync, user: SyncUser) {
    this.#sync = sync;
    this.user = user;
  }

  addMessage(
    role: RoleInput,
    content: JsonValue,
    metadata?: Readonly<Record<string, JsonValue>>,
  ): Promise<SyncReceipt> {
    return this.#noted(this.#sync.addMessage(this.user, role, content, metadata));
  }

  addUserMessage(content: JsonValue): Promise<SyncReceipt> {
    return this.addMessage('user', content);
  }

  addBotMessage(content: JsonValue): Promise<SyncReceipt> {
    return this.addMessage('assistant', content);
  }

  syncState(state: Readonly<Record<string, unknown>>): Promise<SyncReceipt> {
    return this.#noted(this.#sync.syncState(this.user, state));
  }

  linkOrder(orderId: string): Promise<SyncReceipt> {
    return this.#noted(this.#sync.linkOrder(this.user, orderId));
  }

  reset(): Promise<SyncReceipt> {
    return this.#noted(this.#sync.reset(this.user));
  }

  end(): Promise<SyncReceipt> {
    return this.#noted(this.#sync.end(this.user));
  }

  pull(options?: PullOptions): Promise<PullResult> {
    return this.#sync.pull(this.user, options);
  }

  /** Waits until everything that was called here lies in the outbox, also what was not awaited. Ends nothing there. */
  async close(): Promise<void> {
    while (this.#noting.size > 0) await Promise.all(this.#noting);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #noted(receipt: Promise<SyncReceipt>): Promise<SyncReceipt> {
    this.#noting.add(receipt);
    return receipt.finally(() => this.#noting.delete(receipt));
  }
}
