import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { ensureInstalled } from './ensure-installed.mjs';
import { ChatProcess } from './lib/chat-process.mjs';
import { inRoot, shown } from './lib/paths.mjs';
import { ServedAgent } from './lib/served-agent.mjs';

const colours = process.stdout.isTTY && !process.env['NO_COLOR'];
/** @type {(code: number, text: string) => string} */
const paint = (code, text) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
const dim = (/** @type {string} */ text) => paint(2, text);
const bold = (/** @type {string} */ text) => paint(1, text);

process.exitCode = (await ensureInstalled()) || (await build()) || (await demo());

/** A conversation with the sample agent in one process, then its continuation in another. */
async function demo() {
  const id = randomBytes(4).toString('hex');
  const context = `demo-${id}`;
  const user = `ada-${id}`;
  try {
    await inOneProcess(context, user, [
      'Hello!',
      'My name is Ada',
      'I like green tea',
      'start task Quarterly report',
      'next step of the task',
    ]);
    console.log(dim('\nThat process has ended. What it knew is on disk; a second process goes on.\n'));
    const [memory, status] = await inOneProcess(context, user, ['Do you remember me?', 'task status']);
    console.log(dim('\nA third one serves it to other programs, over A2A.\n'));
    const served = await overTheNetwork();
    if (!served.includes('Ada')) throw new Error('the server does not remember what it was told');
    if (!memory?.includes('Ada') || !status?.includes('Quarterly report')) {
      throw new Error('the second process does not remember the first');
    }
  } catch (error) {
    console.error(`\nThe demo failed: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
  console.log(`\nIt remembered. The conversation is in a file you can read:\n  ${bold(conversationFile(context))}`);
  console.log(`Go on yourself:\n  node bin/agentup.js chat --context ${context} --user ${user}`);
  return 0;
}

/**
 * @param {string} context
 * @param {string} user
 * @param {string[]} lines
 */
async function inOneProcess(context, user, lines) {
  const chat = new ChatProcess(['--context', context, '--user', user]);
  console.log(dim(`$ agentup chat --context ${context} --user ${user}    (process ${chat.pid})`));
  const replies = [];
  for (const line of lines) {
    console.log(`${paint(36, '  you')}    ${line}`);
    const reply = await chat.say(line);
    console.log(`${paint(32, '  agent')}  ${reply.replaceAll('\n', '\n         ')}`);
    replies.push(reply);
  }
  await chat.end();
  return replies;
}

/** A conversation over HTTP; the server names it. The last reply. */
async function overTheNetwork() {
  const agent = await ServedAgent.start();
  try {
    console.log(dim(`$ agentup run    (process ${agent.pid}, ${agent.url})`));
    let reply = '';
    for (const line of ['My name is Ada', 'Do you remember me?']) {
      console.log(`${paint(36, '  POST')}   ${line}`);
      reply = await agent.say(line);
      console.log(`${paint(32, '  agent')}  ${reply.replaceAll('\n', '\n         ')}`);
    }
    return reply;
  } finally {
    await agent.end();
  }
}

/** @param {string} context */
function conversationFile(context) {
  const directory = inRoot('conversation_states');
  const files = existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }) : [];
  const file = files.find((path) => path.includes(context) && path.endsWith('.jsonl'));
  if (file === undefined) throw new Error(`no file of ${context} below ${directory}`);
  return shown(join(directory, file));
}
