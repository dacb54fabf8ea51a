import { randomUUID } from 'node:crypto';
import { TaskPushNotificationConfig } from '@a2a-js/sdk';
import { RequestMalformedError } from '@a2a-js/sdk/errors';
import type { PushNotificationStore, ServerCallContext, StoredPushNotificationConfig } from '@a2a-js/sdk/server';
import { decode, encode } from '../../json.js';
import type { StateStorage } from '../../storage/state-storage.js';
import { scopeOf } from './caller.js';
import { taskKey } from './task-keys.js';

const FIELD = 'push:';
/** Most configurations of one task. */
const MOST = 10;
/** Carries the token of a configuration without credentials. */
const TOKEN_HEADER = 'X-A2A-Notification-Token';
/** Fields that the task itself takes in its record. */
const OF_THE_TASK = 2;

/** Where the changes of a task are sent to, kept with the task. Only hosts that the configuration names are taken. */
export class StatePushStore implements PushNotificationStore {
  readonly #storage: StateStorage;
  readonly #hosts: ReadonlySet<string>;

  readonly #ttl: number | 'none';

  /** @param ttl seconds that one is kept whose task never comes to be: a message may be answered without any */
  constructor(storage: StateStorage, hosts: readonly string[], ttl: number | 'none') {
    this.#storage = storage;
    this.#ttl = ttl;
    this.#hosts = new Set(hosts.map((host) => host.toLowerCase()));
  }

  async save(taskId: string, context: ServerCallContext, config: TaskPushNotificationConfig): Promise<void> {
    this.#permit(config.url);
    checkHeaders(config);
    config.id ||= randomUUID();
    const entry = { config: TaskPushNotificationConfig.toJSON(config), wireVersion: context.requestedVersion };
    await this.#storage.commit(
      taskKey(taskId, scopeOf(context)),
      [{ op: 'set', field: `${FIELD}${config.id}`, value: encode(entry) }],
      { maxFields: MOST + OF_THE_TASK, expiry: { renew: this.#ttl } },
    );
  }

  async load(taskId: string, context: ServerCallContext): Promise<TaskPushNotificationConfig[]> {
    return (await this.loadWithMetadata(taskId, context)).map(({ config }) => config);
  }

  async loadWithMetadata(taskId: string, context: ServerCallContext): Promise<StoredPushNotificationConfig[]> {
    const record = await this.#storage.read(taskKey(taskId, scopeOf(context)));
    return [...(record?.fields ?? [])]
      .filter(([field]) => field.startsWith(FIELD))
      .map(([, token]) => {
        const { config, wireVersion } = decode<{ config: unknown; wireVersion: string }>(token);
        return { config: TaskPushNotificationConfig.fromJSON(config), wireVersion };
      });
  }

  async delete(taskId: string, context: ServerCallContext, configId = taskId): Promise<void> {
    await this.#storage.commit(taskKey(taskId, scopeOf(context)), [{ op: 'remove', field: `${FIELD}${configId}` }]);
  }

  /** A server that posts to whatever a caller names can be made to post into its own network. */
  #permit(url: string): void {
    const target = URL.canParse(url) ? new URL(url) : undefined;
    const known = target && (this.#hosts.has('*') || this.#hosts.has(target.hostname.toLowerCase()));
    // No request can be made of a url with a password, and the error about it repeats it.
    const bare = target?.username === '' && target.password === '';
    if (known && bare && (target.protocol === 'https:' || target.protocol === 'http:')) return;
    throw new RequestMalformedError('this agent sends no notifications to that address');
  }
}

/** What a notification says of who sends it. */
export function headersOf({ authentication, token }: TaskPushNotificationConfig): Record<string, string> {
  const { scheme, credentials } = authentication ?? {};
  if (scheme && credentials) return { Authorization: `${scheme} ${credentials}` };
  return token ? { [TOKEN_HEADER]: token } : {};
}

/** Refuses a secret that no header can carry: sent, it would be in the error that is logged. */
function checkHeaders(config: TaskPushNotificationConfig): void {
  try {
    new Headers(headersOf(config));
  } catch {
    throw new RequestMalformedError('the token or credentials for the notifications do not fit into a header');
  }
}
