import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAgent } from '../../src/agent/create-agent.js';
import { createAgentServer } from '../../src/server/agent-server.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import { tool } from '../../src/skill/tool.js';
import { type LinkedProject, linkedProject } from '../support/linked-project.js';
import { serve } from './serving.js';
import { closeGate, shared } from './skills.js';

const BIN = fileURLToPath(new URL('../../bin/agentup.js', import.meta.url));
const NOTES = `
import { injected, stateful, tool, inputRequired } from 'agentup';
import { z } from 'zod';

export class Notes {
  @stateful()
  async handle(task: any, context: any = injected(), contextId: string = injected()) {
    console.log('printed by a skill');
    if (task.text === 'boom') throw new Error('secret of notes');
    if (task.text === 'nested') return (this as any).add_note({ text: 7 });
    if (task.text === 'ask') return inputRequired('Which one?', ['a', 'b']);
    return { notes: await context.getVariable(contextId, 'notes', []), user: task.userId ?? null };
  }

  @tool({ description: 'Keeps a note', input: z.object({ text: z.string().min(1), pages: z.number().default(1) }) })
  async add_note({ text, pages }: any, context: any = injected(), contextId: string = injected()) {
    if (text === 'boom') throw new Error('secret of the tool');
    await context.appendToVariable(contextId, 'notes', text);
    return { added: text, pages };
  }

  @tool({ description: 'Never ends', timeout: 1 })
  async hang() { await new Promise(() => {}); }
}
`;

let project: LinkedProject;
let client: Client;

beforeEach(async () => {
  project = await linkedProject();
  client = new Client({ name: 'test', version: '1' });
});

afterEach(async () => {
  await client.close();
  await project.remove();
});

const call = async (name: string, args: Record<string, unknown> = {}) => {
  const { structuredContent, isError, content } = await client.callTool({ name, arguments: args });
  const text = (content as { text?: string }[])[0]?.text;
  return { ...(structuredContent as { contextId: string; result?: unknown }), isError: isError === true, text };
};

describe('agentup mcp, on standard streams', () => {
  const start = async (args: readonly string[] = []): Promise<void> => {
    await project.write({
      'notes.ts': NOTES,
      'agent_config.yaml':
        'agent: { name: noted, version: "2" }\nskills: [{ id: notes, handler: ./notes.ts, description: keeps notes }]\nstate: { backend: file }\n',
    });
    await client.connect(
      new StdioClientTransport({
        command: process.execPath,
        args: [BIN, 'mcp', ...args],
        cwd: project.directory,
        stderr: 'pipe',
      }),
    );
  };

  it('lists skills and tools with what they take', async () => {
    await start();
    expect(client.getServerVersion()).toMatchObject({ name: 'noted', version: '2' });
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(['ask_notes', 'add_note', 'hang']);
    expect(tools[0]).toMatchObject({ description: 'Ask notes: keeps notes', inputSchema: { required: ['message'] } });
    expect(tools[1]).toMatchObject({
      description: 'Keeps a note',
      inputSchema: { properties: { text: { type: 'string' }, contextId: { type: 'string' } }, required: ['text'] },
    });
  });

  it('carries a conversation by its handle, from call to call and over a restart', async () => {
    await start(['--user', 'ana']);
    const first = await call('add_note', { text: 'milk' });
    expect(first).toMatchObject({ isError: false, result: { added: 'milk', pages: 1 } });
    const { contextId } = first;
    await call('add_note', { text: 'eggs', contextId });
    expect((await call('ask_notes', { message: 'what?', contextId })).result).toEqual({
      notes: ['milk', 'eggs'],
      user: 'ana',
    });
    expect((await call('ask_notes', { message: 'what?' })).result).toEqual({ notes: [], user: 'ana' });
    await client.close();
    client = new Client({ name: 'test', version: '1' });
    await start(['--user', 'ana']);
    expect((await call('ask_notes', { message: 'what?', contextId })).result).toMatchObject({
      notes: ['milk', 'eggs'],
    });
    await client.close();
    client = new Client({ name: 'test', version: '1' });
    await start(['--user', 'ben']);
    expect((await call('ask_notes', { message: 'what?', contextId })).result).toEqual({ notes: [], user: 'ben' });
  });

  it('asks back, and handles a message of one id once', async () => {
    await start();
    const asked = await call('ask_notes', { message: 'ask', messageId: 'm1', contextId: 'mine' });
    expect(asked).toMatchObject({
      text: 'Which one?',
      contextId: 'mine',
      result: { question: 'Which one?', data: ['a', 'b'] },
    });
    expect(await call('ask_notes', { message: 'other words', messageId: 'm1', contextId: 'mine' })).toEqual(asked);
  });

  it('tells errors apart, and nothing that is not meant for the caller', async () => {
    await start();
    expect(await call('no_such')).toMatchObject({ isError: true, error: { code: 'TOOL_NOT_FOUND' } });
    expect(await call('add_note', { text: '' })).toMatchObject({
      isError: true,
      error: { code: 'TOOL_INPUT_INVALID' },
    });
    expect(await call('add_note', {})).toMatchObject({ isError: true, error: { code: 'TOOL_INPUT_INVALID' } });
    expect(await call('ask_notes', {})).toMatchObject({ isError: true, error: { code: 'TOOL_INPUT_INVALID' } });
    expect(await call('ask_notes', { message: 'x', text: 'y' })).toMatchObject({
      error: { code: 'TOOL_INPUT_INVALID', message: 'there is no argument "text"' },
    });
    expect(await call('ask_notes', { message: 'x', messageId: '\ud800' })).toMatchObject({
      error: { code: 'TOOL_INPUT_INVALID', message: 'messageId holds a lone surrogate' },
    });
    expect(await call('hang')).toMatchObject({ isError: true, error: { code: 'TOOL_TIMEOUT' } });
    expect(await call('ask_notes', { message: 'nested' })).toMatchObject({ error: { code: 'HANDLER_FAILED' } });
    expect(await call('ask_notes', { message: 'x', contextId: 'c'.repeat(2000) })).toMatchObject({
      error: { code: 'CONTEXT_ID_INVALID', message: expect.stringContaining('at most 1024') },
    });
    for (const failed of [await call('add_note', { text: 'boom' }), await call('ask_notes', { message: 'boom' })]) {
      expect(failed.isError).toBe(true);
      expect(JSON.stringify(failed)).not.toContain('secret');
    }
    const kept = await call('ask_notes', { message: 'what?' });
    expect(kept).toMatchObject({ isError: false, result: { notes: [] } });
  });
});

describe('agentup mcp, told to stop', () => {
  it('answers what it was asked before, and refuses what comes after', async () => {
    await project.write({
      'slow.mjs': `
        import { existsSync } from 'node:fs';
        import { setTimeout as delay } from 'node:timers/promises';
        import { withState } from 'agentup';
        export const slow = withState(async ({ text }) => {
          console.error('asked');
          while (text === 'wait' && !existsSync('go')) await delay(10);
          return 'done';
        });`,
      'agent_config.yaml': 'skills: [{ id: slow, handler: ./slow.mjs#slow }]\nstate: { backend: memory }\n',
    });
    const child = spawn(process.execPath, [BIN, 'mcp'], { cwd: project.directory, stdio: 'pipe' });
    child.stdin.on('error', () => {});
    let said = '';
    child.stdout.on('data', (data) => {
      said += data;
    });
    const [asked, over] = [once(child.stderr, 'data'), once(child, 'exit')];
    const send = (method: string, params: object, id?: number): void =>
      void child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    const ask = (id: number, message: string): void =>
      send('tools/call', { name: 'ask_slow', arguments: { message } }, id);
    const clientInfo = { name: 'pipe', version: '1' };
    send('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo }, 1);
    send('notifications/initialized', {});
    ask(2, 'wait');
    expect(String(await asked)).toContain('asked');
    child.kill('SIGTERM');
    let id = 2;
    await expect
      .poll(() => {
        ask(++id, 'hello');
        return said;
      })
      .toContain('AGENT_CLOSED');
    expect(said).not.toContain('"id":2,');
    await project.write({ go: '' });
    expect(await over).toEqual([0, null]);
    expect(said.split('\n').find((line) => line.includes('"id":2'))).toContain('"result":"done"');
  });
});

describe('agentup mcp, left by the program that started it in a call', () => {
  const ways: Record<string, (child: ChildProcessWithoutNullStreams) => void> = {
    'which reads no answers any more': ({ stdout }) => void stdout.destroy(),
    'which sends a line without end': ({ stdin }) => void stdin.write('x'.repeat(11_000_000)),
    'which closes its end': ({ stdin }) => void stdin.end(),
  };
  it.each(Object.keys(ways))('%s, ends well', async (way) => {
    await project.write({
      'hang.mjs':
        "import { withState } from 'agentup';\nexport const hang = withState(async () => { console.error('asked'); await new Promise(() => {}); });\n",
      'agent_config.yaml': 'skills: [{ id: hang, handler: ./hang.mjs#hang }]\nstate: { backend: memory }\n',
    });
    const child = spawn(process.execPath, [BIN, 'mcp'], { cwd: project.directory });
    child.stdin.on('error', () => {});
    const [told, ended, asked] = [text(child.stderr), once(child, 'exit'), once(child.stderr, 'data')];
    const send = (id: number, method: string, params: object): void =>
      void child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    const clientInfo = { name: 'pipe', version: '1' };
    send(1, 'initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo });
    send(2, 'tools/call', { name: 'ask_hang', arguments: { message: 'x' } });
    await asked;
    ways[way]?.(child);
    if (child.stdin.writable) send(3, 'tools/list', {});
    expect(await ended).toEqual([0, null]);
    expect(await told).not.toContain('error:');
  });
});

describe('MCP over HTTP', () => {
  const connect = (url: string, headers: Record<string, string> = {}): Promise<void> =>
    client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit: { headers } }));

  it('is served beside A2A, to the same callers with the same conversations', async () => {
    const api_keys = [
      ...['ana', 'ben'].map((user) => ({ key: `key of ${user}`, user })),
      { key: 'key of another ana', user: 'ana', tenant: 'other' },
    ];
    await using serving = await serve({ server: { mcp: true }, security: { auth: 'api_key', api_keys } });
    await expect(connect(serving.url)).rejects.toThrow();
    client = new Client({ name: 'test', version: '1' });
    await connect(serving.url, { 'X-API-Key': 'key of ana' });
    expect((await call('ask_count', { message: 'x', contextId: 'room' })).result).toBe('1 ana');
    expect((await call('ask_count', { message: 'x', contextId: 'room' })).result).toBe('2 ana');
    for (const who of ['ben', 'another ana']) {
      await client.close();
      client = new Client({ name: 'test', version: '1' });
      await connect(serving.url, { 'X-API-Key': `key of ${who}` });
      expect((await call('ask_count', { message: 'x', contextId: 'room' })).result).toBe(`1 ${who.split(' ').at(-1)}`);
    }
  });

  it('lets an anonymous caller go on with what this agent named, and nothing else', async () => {
    await using serving = await serve({ server: { mcp: true } });
    await connect(serving.url);
    const { contextId } = await call('ask_count', { message: 'x' });
    expect((await call('ask_count', { message: 'x', contextId })).result).toBe('2 nobody');
    expect(await call('ask_count', { message: 'x', contextId: 'mine' })).toMatchObject({
      isError: true,
      error: { code: 'CONTEXT_ID_INVALID' },
    });
  });

  it('lets a running call end when the server stops, and cancels one that takes too long', async () => {
    const serving = await serve({ server: { mcp: true, stop_timeout: 20 } });
    await connect(serving.url);
    closeGate();
    shared.log.length = 0;
    const running = call('ask_hang', { message: 'x' });
    await expect.poll(() => shared.log.length).toBeGreaterThan(0);
    const stopped = serving.server.stop();
    await delay(1500);
    shared.open();
    expect(await running).toMatchObject({ result: 'let go', isError: false });
    expect(await stopped).toBe(0);

    await client.close();
    client = new Client({ name: 'test', version: '1' });
    const hasty = await serve({ server: { mcp: true, stop_timeout: 1 } });
    await connect(hasty.url);
    closeGate();
    shared.log.length = 0;
    const cut = call('ask_hang', { message: 'x' });
    await expect.poll(() => shared.log.length).toBeGreaterThan(0);
    expect(await hasty.server.stop()).toBe(1);
    expect(await cut).toMatchObject({ isError: true });
    shared.open();
  });

  it('gives what JSON cannot hold as a text, for the turn is committed', async () => {
    await using serving = await serve({ server: { mcp: true } });
    await connect(serving.url);
    const results = [];
    for (const kind of ['bigint', 'function', 'map', 'none']) {
      results.push((await call('ask_odd', { message: `odd ${kind}` })).result);
    }
    expect(results).toEqual(['10', '[Function: function]', { a: [1, 2] }, null]);
    expect((await call('ask_odd', { message: 'odd cyclic' })).result).toContain('[Circular');
  });

  it('is not served where a tool is called like a skill, or takes its conversation for an argument', async () => {
    const withTool = (name: string, properties: object) => {
      @skill({ id: 'notes' })
      class Notes {
        @stateful()
        async handle() {}

        @tool({ name, description: 'No good', inputSchema: { type: 'object', properties } })
        async bad() {}
      }
      return createAgent({ state: { backend: 'memory' }, server: { mcp: true } }, { skills: [Notes] });
    };
    for (const made of [withTool('ask_notes', {}), withTool('bad', { contextId: { type: 'string' } })]) {
      await using agent = await made;
      await expect(createAgentServer(agent)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: { skillId: 'notes' },
      });
    }
  });

  it('takes requests as large as the server does, whatever they say they are', async () => {
    const post = async (serving: { url: string }, message: string, type = 'application/json') => {
      const params = { name: 'ask_count', arguments: { message } };
      const { status } = await fetch(`${serving.url}/mcp`, {
        method: 'POST',
        headers: { 'Content-Type': type, Accept: 'application/json, text/event-stream' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }),
      });
      return status;
    };
    await using large = await serve({ server: { mcp: true, body_limit: 6_000_000 } });
    expect(await post(large, 'x'.repeat(5_000_000))).toBe(200);
    await using small = await serve({ server: { mcp: true, body_limit: 1024 } });
    expect(await post(small, 'x'.repeat(2000))).toBe(413);
    expect(await post(small, 'x'.repeat(2000), 'text/plain')).toBe(413);
    expect(await post(small, 'x', 'text/plain')).toBe(415);
  });

  it('is not there where nobody asked for it', async () => {
    await using serving = await serve();
    expect((await fetch(`${serving.url}/mcp`, { method: 'POST' })).status).toBe(404);
  });
});
