import type { Token } from '../../json.js';
import type { Idempotency } from '../state-storage.js';

/** What a record remembers of work that must not be done twice, by idempotency key; the oldest go first. */
export class StoredReplies {
  readonly #replies = new Map<string, Token>();
  /** Size in a checkpoint. */
  bytes = 0;

  get(key: string): Token | undefined {
    return this.#replies.get(key);
  }

  add({ key, reply, keep }: Idempotency): void {
    this.#delete(key);
    this.#replies.set(key, reply);
    this.bytes += sizeOf(key, reply);
    for (const old of this.#replies.keys()) {
      if (this.#replies.size <= keep) return;
      this.#delete(old);
    }
  }

  /** Oldest first. */
  entries(): Iterable<[string, Token]> {
    return this.#replies;
  }

  /** These, oldest first, instead of what is there. */
  replace(replies: Iterable<readonly [string, Token]>): void {
    this.clear();
    for (const [key, reply] of replies) this.add({ key, reply, keep: Number.POSITIVE_INFINITY });
  }

  clear(): void {
    this.#replies.clear();
    this.bytes = 0;
  }

  /** As the members of a JSON array. */
  text(): string {
    let text = '';
    for (const [key, reply] of this.#replies) text += `${text === '' ? '' : ','}[${JSON.stringify(key)},${reply}]`;
    return text;
  }

  #delete(key: string): void {
    const reply = this.#replies.get(key);
    if (reply === undefined) return;
    this.bytes -= sizeOf(key, reply);
    this.#replies.delete(key);
  }
}

function sizeOf(key: string, reply: Token): number {
  return key.length + reply.length + 6;
}
