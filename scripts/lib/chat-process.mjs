import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { inRoot, root } from './paths.mjs';

/** `agentup chat` on the sample agent, in a process of its own, line by line. */
export class ChatProcess {
  #child;
  #replies;
  #ended;
  #errors = '';

  /** @param {string[]} args */
  constructor(args) {
    // Its end follows ours in any case: it reads the pipe until that closes.
    this.#child = spawn(process.execPath, [inRoot('bin', 'agentup.js'), 'chat', '--json', ...args], {
      cwd: root,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#ended = once(this.#child, 'close');
    this.#child.stdin.on('error', () => {});
    this.#child.stderr.setEncoding('utf8').on('data', (chunk) => {
      this.#errors += chunk;
    });
    this.#replies = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  get pid() {
    return this.#child.pid;
  }

  /**
   * Says one line and waits for the answer.
   * @param {string} line
   * @returns {Promise<string>}
   */
  async say(line) {
    this.#child.stdin.write(`${line}\n`);
    const { value, done } = await this.#replies.next();
    const reply = done ? undefined : JSON.parse(value);
    if (typeof reply?.text !== 'string') {
      this.#child.stdin.end();
      await this.#ended;
      throw new Error(`no answer to "${line}"\n${this.#errors}`);
    }
    return reply.text;
  }

  /** Ends the input and waits for the process to end. */
  async end() {
    this.#child.stdin.end();
    const [code] = await this.#ended;
    if (code !== 0) throw new Error(`the chat ended with code ${code}\n${this.#errors}`);
  }
}
