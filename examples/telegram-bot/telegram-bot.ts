import { type Agent, isAgentUpError } from 'agentup';
import { Bot } from 'grammy';

/** A Telegram bot whose memory is the agent's: grammY brings the messages and sends the replies. */
export function telegramBot(token: string, agent: Agent): Bot {
  const bot = new Bot(token);
  bot.on('message:text', async (ctx) => {
    const { chat, from, message, update } = ctx;
    try {
      const reply = await agent.handle({
        id: `telegram-${update.update_id}`,
        // Telegram delivers an update again until it is answered: the reply is then that of the first time.
        messageId: String(update.update_id),
        contextId: `telegram-${chat.id}`,
        // A private chat is its user's. A group belongs to all who are in it, so none of them is named.
        ...(chat.type === 'private' && { userId: `telegram-${from.id}` }),
        metadata: { name: from.first_name },
        text: message.text,
      });
      await ctx.reply(reply.text);
    } catch (error) {
      if (!isAgentUpError(error, 'CONVERSATION_BUSY')) throw error;
      await ctx.reply('One moment, there are many messages here. Please say that again.');
    }
  });
  return bot;
}
