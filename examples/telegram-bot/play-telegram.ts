import type { Bot } from 'grammy';

const GROUP = { id: -100, type: 'group' as const, title: 'Flat 7' };
const LINES = [
  { update_id: 1, name: 'Ada', text: 'add milk' },
  { update_id: 2, name: 'Ben', text: 'add bread' },
  // Delivered again, as after an answer that was lost: it is not added twice.
  { update_id: 2, name: 'Ben', text: 'add bread' },
  { update_id: 3, name: 'Ada', text: 'list' },
  { update_id: 4, name: 'Ben', text: 'bought milk' },
];

/** What Telegram would send, and what it would be sent, without asking a network. */
export async function playTelegram(bot: Bot): Promise<void> {
  bot.botInfo = { id: 1, is_bot: true, first_name: 'List', username: 'list_bot' } as Bot['botInfo'];
  bot.api.config.use((_call, _method, payload) => {
    const { text } = payload as { text: string };
    for (const line of text.split('\n')) console.log(`bot  ${line}`);
    return Promise.resolve({ ok: true, result: true }) as never;
  });
  for (const { update_id, name, text } of LINES) {
    console.log(`${name}  ${text}`);
    await bot.handleUpdate({
      update_id,
      message: {
        message_id: update_id,
        date: Math.floor(Date.now() / 1000),
        text,
        chat: GROUP,
        from: { id: name === 'Ada' ? 7 : 8, is_bot: false, first_name: name },
      },
    });
  }
}
