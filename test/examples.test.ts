import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LinkedProject, linkedProject } from './support/linked-project.js';

let project: LinkedProject;
beforeEach(async () => {
  project = await linkedProject();
  await cp('examples', join(project.directory, 'examples'), {
    recursive: true,
    filter: (path) => !/conversation_states|back_office_states|\.sqlite/.test(path),
  });
});
afterEach(() => project.remove());

describe('the examples', () => {
  it('conversation memory: a second process remembers the first', async () => {
    const first = await project.tsx('examples/conversation-memory/main.ts');
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toContain('agent  Nice to meet you, Alice.');
    const second = await project.compiled('examples/conversation-memory/main.ts');
    expect(second).toMatchObject({ code: 0, stderr: '' });
    expect(second.stdout).toContain('This is message 4 of our conversation: your name is Alice, you like jasmine tea');
    expect(
      await readdir(join(project.directory, 'examples/conversation-memory/conversation_states/contexts')),
    ).toContain('alice.jsonl');
  });

  it('caches: a flow, a profile and a login go on in another conversation; a menu is shared', async () => {
    const { code, stdout, stderr } = await project.tsx('examples/caches/main.ts');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const said of [
      'There is no huge.',
      'A large pizza with pepperoni, mushrooms for $15.99. Confirm?',
      'Order 1 is being prepared.',
      'Sarah (0123456789), message 2, seen in 2026',
      'Large pizza $15.99 (1 pizza)',
      'Please log in first.',
      'You are Sarah, for 60 minutes.',
      'Goodbye.',
      'You have no open ticket.',
      'T1 is open.',
      'T1 is open, with 2 notes.',
      'T1 is resolved; 0 others are open.',
    ]) {
      expect(stdout).toContain(said);
    }
    expect(stdout).toMatch(/sold out pizza_large +Coke \$1\.99 \(1 pizza\)/);
    expect((await project.compiled('examples/caches/main.ts')).stdout).toContain('Order 2 is being prepared.');
  });

  it('workflow: steps come in their order, a load is shared', async () => {
    const { code, stdout } = await project.tsx('examples/caches/workflow.ts');
    expect(code).toBe(0);
    expect(stdout).toContain('verify: missing\ncollect: created\napprove: condition_not_met\n');
    expect(stdout).toContain("[ 'verify: replaced', 'verify: condition_not_met' ]");
    expect(stdout).toMatch(/\{ rate: 1\.1, calls: 1 \} ?\] 1|\] 1\n/);
  });

  it('telegram bot: a group shares its list, an update that comes twice counts once', async () => {
    const { code, stdout, stderr } = await project.tsx('examples/telegram-bot/main.ts');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [, played = ''] = stdout.split('\n\n');
    expect(played.split('\n').filter((line) => line.startsWith('bot'))).toEqual([
      'bot  milk is on the list.',
      'bot  bread is on the list.',
      'bot  bread is on the list.',
      'bot  milk (Ada)',
      'bot  bread (Ben)',
      'bot  1 to go.',
    ]);
  });

  it('customer service: tools work on the conversation, what matters of it outlives its end', async () => {
    const { code, stdout, stderr } = await project.tsx('examples/customer-service/main.ts');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const said of [
      'tools   login, logout, get_order, add_to_cart, get_cart_total',
      'Please log in first',
      '{"orderId":"ORD-789","status":"sent","items":["P123"]}',
      'There is no order ORD-800 of yours',
      'the arguments of the tool get_order do not fit: orderId: an order is called ORD- and its number',
      'the tool add_to_cart failed: there is no product P999',
      '{"total":209.9,"items":2}',
      'call-2  hello                  Hello, welcome back (visit 2)!',
      '"lastCart":[{"productId":"P123","quantity":2},{"productId":"P456","quantity":1}],"lastEnd":"ended"',
    ]) {
      expect(stdout).toContain(said);
    }
    expect(stdout).toMatch(/call-2 {2}where is ORD-789\? +\{"error":"Please log in first"\}/);
    const kept = await readdir(join(project.directory, 'examples/customer-service/conversation_states'), {
      recursive: true,
    });
    expect(kept.filter((file) => /^contexts.*jsonl$/.test(file))).toEqual([]);
  });

  it('model chat: runs without a key', async () => {
    const { code, stdout, stderr } = await project.tsx('examples/model-chat/main.ts');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('agent  I found this: {"city":"Lisbon","sky":"sunny","celsius":16}');
    expect(stdout).toContain('You have said 2 things before.');
    expect(stdout).toContain('knows  ["Lisbon"]');
  });

  it('A2A server: asks back, goes on after a restart, streams', async () => {
    const { code, stdout, stderr } = await project.tsx('examples/a2a-server/main.ts');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(
      [
        'you    Margherita',
        'agent  A Margherita. Which size? ["small","large"]',
        'you    large',
        'agent  {"order":1,"kind":"Margherita","size":"large"}',
        'agent  Once upon a time there was somebody with 1 pizzas.',
        '',
      ].join('\n'),
    );
  });

  it('WhatsApp sync: what was said while the back office was down arrives, and its changes come back', async () => {
    const { code, stdout, stderr } = await project.tsx('examples/whatsapp-sync/main.ts');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('waiting      12\nthere        user: hola\n');
    expect(stdout).toContain('there        assistant: S/ 43 with yape, thank you.\nthere        payment 43 yape\n');
    // The turn that failed.
    expect(stdout).not.toContain('user: pay dollars');
    expect(stdout).toMatch(/user_location: 'Av\. Grau 123'[\s\S]*Eva here[\s\S]*waiting {6}0\n$/);
  });

  it('multi-session task: each session is a process and a conversation of its own, the task goes on to its end', async () => {
    const said: string[] = [];
    for (let session = 0; session < 5; session++) {
      const { code, stdout, stderr } = await project[session === 0 ? 'tsx' : 'compiled'](
        'examples/multi-session-task/main.ts',
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      said.push(stdout);
    }
    expect(said[0]).toContain('agent  Started "quarterly forecast"');
    expect(said[0]).toContain('agent  "quarterly forecast" is paused, 1 of 4 steps done.');
    expect(said[1]).toContain('agent  "quarterly forecast" is running, 1 of 4 steps done.');
    expect(said[3]).toContain('agent  "quarterly forecast" is completed.');
    expect(said[4]).toContain('agent  Started "quarterly forecast"');
  });

  it('SQLite storage: a second process remembers the first, and ends by itself', async () => {
    const run = () => project.tsx('examples/sqlite-storage/main.ts');
    const first = await run();
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toContain('agent  Visit 1. Nice to meet you.');
    const second = await run();
    expect(second).toMatchObject({ code: 0, stderr: '' });
    expect(second.stdout).toMatch(/agent {2}Visit 3\. Last time you said "it is \d{4}-\d\d-\d\d"\./);
    expect(second.stdout).toContain('kept   carol, last written');
  });
});
