import type {
  AgentCard,
  CancelTaskRequest,
  DeleteTaskPushNotificationConfigRequest,
  GetExtendedAgentCardRequest,
  GetTaskPushNotificationConfigRequest,
  GetTaskRequest,
  ListTaskPushNotificationConfigsRequest,
  ListTaskPushNotificationConfigsResponse,
  ListTasksRequest,
  ListTasksResponse,
  Message,
  SendMessageRequest,
  StreamResponse,
  SubscribeToTaskRequest,
  Task,
  TaskPushNotificationConfig,
} from '@a2a-js/sdk';
import { A2AError, RequestMalformedError } from '@a2a-js/sdk/errors';
import type { A2ARequestHandler, ServerCallContext, TaskStore } from '@a2a-js/sdk/server';
import { isAgentUpError } from '../../errors.js';
import type { Logger } from '../../logger.js';
import { checkId, isWellFormed } from '../../storage/keys.js';
import type { ContextIds } from '../context-ids.js';
import { failureOf, TENANT_FORBIDDEN } from '../failure.js';
import { Caller, scopeOf } from './caller.js';
import type { ConversationGate } from './conversation-gate.js';
import { noteMessage } from './interrupted.js';
import { RefusedError } from './refused-error.js';
import { subscribed } from './task-buses.js';

export interface RequestPolicy {
  readonly contextIds: ContextIds;
  /** May an anonymous caller name conversations as it likes? */
  readonly freeContextIds: boolean;
  /** May an anonymous caller name a tenant? */
  readonly freeTenants: boolean;
  readonly partsLimit: number;
}

/** Stands before the SDK's handler: refuses what is not allowed, and lets no inner error out. */
export class GuardedRequestHandler implements A2ARequestHandler {
  readonly #inner: A2ARequestHandler;
  readonly #policy: RequestPolicy;
  readonly #gate: ConversationGate;
  readonly #tasks: TaskStore;
  readonly #logger: Logger;

  constructor(
    inner: A2ARequestHandler,
    policy: RequestPolicy,
    gate: ConversationGate,
    tasks: TaskStore,
    logger: Logger,
  ) {
    this.#inner = inner;
    this.#policy = policy;
    this.#gate = gate;
    this.#tasks = tasks;
    this.#logger = logger;
  }

  getAgentCard(): Promise<AgentCard> {
    return this.#inner.getAgentCard();
  }

  getAuthenticatedExtendedAgentCard(
    params: GetExtendedAgentCardRequest,
    context: ServerCallContext,
  ): Promise<AgentCard> {
    return this.#guard(context, params, () => this.#inner.getAuthenticatedExtendedAgentCard(params, context));
  }

  sendMessage(params: SendMessageRequest, context: ServerCallContext): Promise<Message | Task> {
    return this.#guard(context, params, async () => {
      try {
        return await this.#inner.sendMessage(await this.#admit(params, context), context);
      } finally {
        this.#gate.leaveUnlessEntered(context);
      }
    });
  }

  sendMessageStream(
    params: SendMessageRequest,
    context: ServerCallContext,
  ): AsyncGenerator<StreamResponse, void, undefined> {
    const [admit, inner, gate] = [() => this.#admit(params, context), this.#inner, this.#gate];
    return this.#guardStream(context, params, async function* () {
      try {
        yield* inner.sendMessageStream(await admit(), context);
      } finally {
        gate.leaveUnlessEntered(context);
      }
    });
  }

  getTask(params: GetTaskRequest, context: ServerCallContext): Promise<Task> {
    return this.#guard(context, params, () => this.#inner.getTask(params, context));
  }

  cancelTask(params: CancelTaskRequest, context: ServerCallContext): Promise<Task> {
    return this.#guard(context, params, () => this.#inner.cancelTask(params, context));
  }

  listTasks(params: ListTasksRequest, context: ServerCallContext): Promise<ListTasksResponse> {
    return this.#guard(context, params, () => this.#inner.listTasks(params, context));
  }

  resubscribe(
    params: SubscribeToTaskRequest,
    context: ServerCallContext,
  ): AsyncGenerator<StreamResponse, void, undefined> {
    return this.#guardStream(context, params, () =>
      subscribed(context, () => this.#inner.resubscribe(params, context)),
    );
  }

  createTaskPushNotificationConfig(
    params: TaskPushNotificationConfig,
    context: ServerCallContext,
  ): Promise<TaskPushNotificationConfig> {
    return this.#guard(context, params, () => this.#inner.createTaskPushNotificationConfig(params, context));
  }

  getTaskPushNotificationConfig(
    params: GetTaskPushNotificationConfigRequest,
    context: ServerCallContext,
  ): Promise<TaskPushNotificationConfig> {
    return this.#guard(context, params, () => this.#inner.getTaskPushNotificationConfig(params, context));
  }

  listTaskPushNotificationConfigs(
    params: ListTaskPushNotificationConfigsRequest,
    context: ServerCallContext,
  ): Promise<ListTaskPushNotificationConfigsResponse> {
    return this.#guard(context, params, () => this.#inner.listTaskPushNotificationConfigs(params, context));
  }

  deleteTaskPushNotificationConfig(
    params: DeleteTaskPushNotificationConfigRequest,
    context: ServerCallContext,
  ): Promise<void> {
    return this.#guard(context, params, () => this.#inner.deleteTaskPushNotificationConfig(params, context));
  }

  async #guard<R>(context: ServerCallContext, { tenant }: { tenant: string }, call: () => Promise<R>): Promise<R> {
    try {
      this.#settleTenant(context, tenant);
      return await call();
    } catch (error) {
      throw this.#outward(error);
    }
  }

  async *#guardStream(
    context: ServerCallContext,
    { tenant }: { tenant: string },
    call: () => AsyncGenerator<StreamResponse, void, undefined>,
  ): AsyncGenerator<StreamResponse, void, undefined> {
    try {
      this.#settleTenant(context, tenant);
      yield* call();
    } catch (error) {
      throw this.#outward(error);
    }
  }

  /** What the SDK says of a request is meant for the caller; anything else is not. */
  #outward(error: unknown): unknown {
    if (error instanceof A2AError) return error;
    // Before a turn, arguments are the caller's: an id that is no text, or too long.
    if (isAgentUpError(error, 'INVALID_ARGUMENT')) {
      return new RequestMalformedError('an id of this request is not one');
    }
    const isLongId = isAgentUpError(error, 'LIMIT_EXCEEDED') && error.details['limit'] === 'idLength';
    if (!isLongId) this.#logger.error(error, 'a request failed');
    return new RefusedError(failureOf(error));
  }

  /**
   * The tenant is the caller's own, whatever the request says; only who is nobody may name one, if at all. The context
   * has the one of the path or the envelope, the request that of its body.
   */
  #settleTenant(context: ServerCallContext, inBody: string | undefined): void {
    const { tenantId, userId } = context.user instanceof Caller ? context.user.identity : scopeOf(context);
    const named = context.tenant || inBody || undefined;
    const free = userId === undefined && this.#policy.freeTenants;
    if (named !== undefined && named !== tenantId && !free) throw new RefusedError(TENANT_FORBIDDEN);
    const tenant = named ?? tenantId;
    if (tenant !== undefined && context.tenant === undefined) context.setTenant(tenant);
  }

  /** Refuses a message for what can be seen of it without waiting for anything. */
  #check({ message }: SendMessageRequest, context: ServerCallContext): void {
    if (!message) return;
    const { partsLimit, contextIds, freeContextIds } = this.#policy;
    if (message.parts.length > partsLimit) {
      throw new RequestMalformedError(`a message has ${partsLimit} parts at most`);
    }
    // The SDK loads each, one after the other.
    if (message.referenceTaskIds.length > partsLimit) {
      throw new RequestMalformedError(`a message refers to ${partsLimit} tasks at most`);
    }
    const scope = scopeOf(context);
    const { contextId } = message;
    if (contextId !== '' && scope.userId === undefined && !freeContextIds && !contextIds.made(contextId)) {
      throw new RequestMalformedError('this contextId was not made by this agent; send the first message without one');
    }
    // Of an id that no key can hold the storage would say so when the task is to be written, with the turn done.
    if (contextId !== '') checkId(contextId, 'contextId');
    // The SDK reads data that is null as none; what it is then, no handler could tell.
    if (message.parts.some(({ content }) => content?.value === undefined || content.value === null)) {
      throw new RequestMalformedError('a part of this message is empty');
    }
    if (!isWellFormed(message.messageId)) throw new RequestMalformedError('the messageId holds a lone surrogate');
    if (contextId !== '') this.#gate.check(scope, contextId, message);
  }

  /** The request with a context id that its caller may use, when it is its turn to be let in. */
  async #admit(params: SendMessageRequest, context: ServerCallContext): Promise<SendMessageRequest> {
    this.#check(params, context);
    const { message } = params;
    if (!message) return params;
    const { contextIds } = this.#policy;
    const scope = scopeOf(context);
    const { taskId } = message;
    let { contextId } = message;
    noteMessage(context, message.messageId);
    // A task knows its conversation, which is where its messages wait and are counted.
    if (contextId === '') {
      contextId = taskId === '' ? contextIds.make() : ((await this.#tasks.load(taskId, context))?.contextId ?? '');
    }
    // Without one the task is none of the caller's: the SDK says so.
    if (contextId === '') return params;
    await this.#gate.admit(context, scope, contextId, message);
    return { ...params, message: { ...message, contextId } };
  }
}
