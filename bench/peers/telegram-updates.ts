/** What Telegram would send: a private chat, one message of text. No network is asked. */
export const BOT = { id: 1, is_bot: true as const, first_name: 'bench', username: 'bench_bot' };
export const TOKEN = '1:bench';

let updates = 0;

export function updateIn(chat: number) {
  updates++;
  const who = { id: chat, first_name: 'Ada' };
  return {
    update_id: updates,
    message: {
      message_id: updates,
      date: Math.floor(Date.now() / 1000),
      text: 'turn',
      chat: { ...who, type: 'private' as const },
      from: { ...who, is_bot: false },
    },
  };
}
