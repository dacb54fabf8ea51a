import { randomUUID } from 'node:crypto';
import { type Message, type Part, Role, type SendMessageRequest, type Task } from '@a2a-js/sdk';
import {
  type Client,
  ClientFactory,
  ClientFactoryOptions,
  JsonRpcTransportFactory,
  RestTransportFactory,
} from '@a2a-js/sdk/client';

export interface Say {
  readonly contextId?: string;
  readonly taskId?: string;
  readonly messageId?: string;
  readonly parts?: Part[];
  /** Do not wait for the end. */
  readonly returnImmediately?: boolean;
  readonly tenant?: string;
}

/** The official A2A client on a server. */
export async function a2aClient(
  url: string,
  { headers = {}, transport }: { headers?: Record<string, string>; transport?: 'rest' } = {},
): Promise<Client> {
  const fetchImpl: typeof fetch = (input, init) =>
    fetch(input, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), ...headers } });
  const transports = transport
    ? [new RestTransportFactory({ fetchImpl })]
    : [new JsonRpcTransportFactory({ fetchImpl })];
  return new ClientFactory(ClientFactoryOptions.createFrom(ClientFactoryOptions.default, { transports })).createFromUrl(
    url,
  );
}

export function textPart(value: string): Part {
  return { content: { $case: 'text', value }, metadata: undefined, filename: '', mediaType: 'text/plain' };
}

export function request(text: string, say: Say = {}): SendMessageRequest {
  const { contextId = '', taskId = '', messageId = randomUUID(), parts = [textPart(text)] } = say;
  return {
    tenant: say.tenant ?? '',
    message: {
      messageId,
      contextId,
      taskId,
      role: Role.ROLE_USER,
      parts,
      metadata: undefined,
      extensions: [],
      referenceTaskIds: [],
    },
    configuration: {
      acceptedOutputModes: [],
      taskPushNotificationConfig: undefined,
      returnImmediately: say.returnImmediately ?? false,
    },
    metadata: undefined,
  };
}

export function say(client: Client, text: string, more: Say = {}): Promise<Message | Task> {
  return client.sendMessage(request(text, more));
}

export function isTask(result: Message | Task): result is Task {
  return 'id' in result;
}

/** The text of a message, of the last word on a task, or of its artifacts. */
export function textIn(result: Message | Task): string {
  const parts = isTask(result)
    ? (result.status?.message?.parts ?? result.artifacts.flatMap((artifact) => artifact.parts))
    : result.parts;
  return parts
    .map(({ content }) => (content?.$case === 'text' ? content.value : JSON.stringify(content?.value)))
    .join('');
}
