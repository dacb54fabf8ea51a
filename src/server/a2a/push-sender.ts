import type { StreamResponse, Task } from '@a2a-js/sdk';
import { V03PushNotificationSerializer } from '@a2a-js/sdk/compat/v0_3/server';
import {
  type PushNotificationSender,
  type PushNotificationSerializer,
  type ServerCallContext,
  type StoredPushNotificationConfig,
  V1PushNotificationSerializer,
} from '@a2a-js/sdk/server';
import { Bag } from '../../bag.js';
import type { Logger } from '../../logger.js';
import { within } from '../../within.js';
import { headersOf, type StatePushStore } from './push-store.js';

/** Longest wait for whom a notification goes to, in milliseconds. */
const TIMEOUT_MS = 5000;

const V1 = new V1PushNotificationSerializer();
const SERIALIZERS: Readonly<Record<string, PushNotificationSerializer>> = {
  '0.3': new V03PushNotificationSerializer(),
};

/**
 * Sends the news of tasks where their callers asked for, those of one task in order. Follows no redirect: it leads to
 * a host that nobody permitted, maybe inside this network. What does not arrive is logged, by its host alone: the rest
 * of an address may be a secret.
 */
export class PushSender implements PushNotificationSender {
  readonly #store: StatePushStore;
  readonly #logger: Logger;
  readonly #timeoutMs: number;
  /** By task, what was sent last. */
  readonly #last = new Map<string, Promise<void>>();
  readonly #underWay = new Bag<Promise<void>>();
  #ended = false;

  constructor(store: StatePushStore, logger: Logger, timeoutMs = TIMEOUT_MS) {
    this.#store = store;
    this.#logger = logger;
    this.#timeoutMs = timeoutMs;
  }

  async send(news: StreamResponse, context: ServerCallContext, task?: Task): Promise<void> {
    const taskId = taskIdOf(news);
    if (!taskId || this.#ended) return;
    const sent = this.#send(news, context, taskId, task);
    const place = this.#underWay.add(sent);
    try {
      await sent;
    } finally {
      this.#underWay.delete(place);
    }
  }

  /** Waits for what is under way, for so many milliseconds at most, and sends no more. Logs what that leaves unsent. */
  async end(timeoutMs: number): Promise<void> {
    await within(timeoutMs, this.#settled(), () => {});
    this.#ended = true;
    const left = this.#underWay.size;
    if (left > 0) this.#logger.warn(`${left} notifications of tasks took too long to send and may not have arrived`);
  }

  async #settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay.values());
  }

  async #send(news: StreamResponse, context: ServerCallContext, taskId: string, task?: Task): Promise<void> {
    const targets = await this.#targets(taskId, context);
    if (targets.length === 0) return;
    const before = this.#last.get(taskId) ?? Promise.resolve();
    const sent = before.then(async () => {
      await Promise.all(targets.map((target) => this.#post(target, news, taskId, task)));
    });
    this.#last.set(taskId, sent);
    await sent;
    if (this.#last.get(taskId) === sent) this.#last.delete(taskId);
  }

  /** None where the storage fails, which is logged: the SDK would print it on the console. */
  async #targets(taskId: string, context: ServerCallContext): Promise<StoredPushNotificationConfig[]> {
    try {
      return await this.#store.loadWithMetadata(taskId, context);
    } catch (error) {
      this.#logger.warn(error, `whom to notify of the task ${taskId} cannot be read, so nobody was`);
      return [];
    }
  }

  /** Never fails. */
  async #post(
    { config, wireVersion }: StoredPushNotificationConfig,
    news: StreamResponse,
    taskId: string,
    task?: Task,
  ): Promise<void> {
    try {
      const { body, contentType } = (SERIALIZERS[wireVersion] ?? V1).serialize(news, task);
      const response = await fetch(config.url, {
        method: 'POST',
        headers: { 'Content-Type': contentType, ...headersOf(config) },
        body,
        redirect: 'manual',
        signal: AbortSignal.timeout(this.#timeoutMs),
      });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`the answer was ${response.status}`);
    } catch (error) {
      this.#logger.warn(error, `a notification of the task ${taskId} did not reach ${new URL(config.url).host}`);
    }
  }
}

function taskIdOf({ payload }: StreamResponse): string | undefined {
  return payload?.$case === 'task' ? payload.value.id : payload?.value.taskId;
}
