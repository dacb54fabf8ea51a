import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { inRoot, root } from './paths.mjs';

/** `agentup run` on the sample agent, in a process of its own on a free port, and one conversation with it. */
export class ServedAgent {
  #child;
  #ended;
  #contextId = '';
  url = '';

  constructor() {
    this.#child = spawn(process.execPath, [inRoot('bin', 'agentup.js'), 'run', '--port', '0'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#ended = once(this.#child, 'close');
  }

  static async start() {
    const agent = new ServedAgent();
    let errors = '';
    agent.#child.stderr.setEncoding('utf8').on('data', (chunk) => {
      errors += chunk;
    });
    for await (const line of createInterface({ input: agent.#child.stdout })) {
      agent.url = line;
      return agent;
    }
    throw new Error(`the server did not start\n${errors}`);
  }

  get pid() {
    return this.#child.pid;
  }

  /**
   * Sends one message and waits for the answer.
   * @param {string} text
   * @returns {Promise<string>}
   */
  async say(text) {
    const message = { messageId: randomUUID(), role: 'ROLE_USER', contextId: this.#contextId, parts: [{ text }] };
    const answer = await fetch(`${this.url}/a2a/jsonrpc`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'A2A-Version': '1.0' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'SendMessage', params: { message } }),
    });
    const { result, error } =
      /** @type {{ result?: { message?: { contextId: string, parts: { text?: string }[] } }, error?: { message: string } }} */ (
        await answer.json()
      );
    const reply = result?.message;
    if (reply === undefined) throw new Error(error?.message ?? `no answer to "${text}"`);
    this.#contextId = reply.contextId;
    return reply.parts.map((part) => part.text ?? '').join('');
  }

  /** Stops the server and waits for it. */
  async end() {
    this.#child.kill('SIGTERM');
    const [code] = await this.#ended;
    if (code !== 0) throw new Error(`the server ended with code ${code}`);
  }
}
