/** What Telegram would send: a private chat, one message of text. No network is asked. */
export const BOT = { id: 1, is_bot: true as const, first_name: 'bench', username: 'bench_bot' };
export const TOKEN = '1:bench';

let updates = 0;

/** Sends updates to a bot, and brings back what its handler counted in each. */
export class Updates {
  readonly #visits = new Map<number, number>();

  /** For the handler. */
  counted(update: number, visits: number): void {
    this.#visits.set(update, visits);
  }

  async send(chat: number, handle: (update: ReturnType<typeof updateIn>) => Promise<unknown>): Promise<number> {
    const update = updateIn(chat);
    await handle(update);
    const visits = this.#visits.get(update.update_id) ?? Number.NaN;
    this.#visits.delete(update.update_id);
    return visits;
  }
}

function updateIn(chat: number) {
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
