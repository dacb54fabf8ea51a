import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { type Message, type Part, Role, type Task, TaskState } from '@a2a-js/sdk';
import { type Client, ClientFactory, ClientFactoryOptions, JsonRpcTransportFactory } from '@a2a-js/sdk/client';
import { createAgent } from 'agentup';
import { createAgentServer } from 'agentup/a2a';

const config = fileURLToPath(new URL('agent_config.yaml', import.meta.url));
const key = process.env['PIZZERIA_KEY'] ?? 'only-for-the-example';

/** A client that says who it is. */
function connect(url: string): Promise<Client> {
  const fetchImpl: typeof fetch = (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set('X-API-Key', key);
    return fetch(input, { ...init, headers });
  };
  const transports = [new JsonRpcTransportFactory({ fetchImpl })];
  const options = ClientFactoryOptions.createFrom(ClientFactoryOptions.default, { transports });
  return new ClientFactory(options).createFromUrl(url);
}

function message(text: string, { contextId = '', taskId = '' } = {}): Message {
  const part: Part = { content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: '' };
  return {
    messageId: randomUUID(),
    role: Role.ROLE_USER,
    contextId,
    taskId,
    parts: [part],
    metadata: undefined,
    extensions: [],
    referenceTaskIds: [],
  };
}

async function say(client: Client, text: string, place = {}): Promise<Message | Task> {
  const said = message(text, place);
  const reply = await client.sendMessage({ tenant: '', message: said, configuration: undefined, metadata: undefined });
  console.log(`you    ${text}\nagent  ${textOf(reply)}`);
  return reply;
}

function textOf(reply: Message | Task): string {
  const parts = 'parts' in reply ? reply.parts : (reply.status?.message?.parts ?? []);
  return parts
    .map(({ content }) => (typeof content?.value === 'string' ? content.value : JSON.stringify(content?.value)))
    .join(' ');
}

const first = await createAgentServer(await createAgent(config));
let client = await connect(await first.listen());
const asked = await say(client, 'Margherita');
await first.stop();

// The server has been started again: the task still waits for its answer.
const second = await createAgentServer(await createAgent(config));
client = await connect(await second.listen());
if ('status' in asked && asked.status?.state === TaskState.TASK_STATE_INPUT_REQUIRED) {
  await say(client, 'large', { taskId: asked.id, contextId: asked.contextId });
}
process.stdout.write('agent  ');
const request = { tenant: '', message: message('a story', { contextId: asked.contextId }) };
for await (const { payload } of client.sendMessageStream({
  ...request,
  configuration: undefined,
  metadata: undefined,
})) {
  for (const { content } of payload?.$case === 'artifactUpdate' ? (payload.value.artifact?.parts ?? []) : []) {
    process.stdout.write(String(content?.value));
  }
}
console.log();
await second.stop();
