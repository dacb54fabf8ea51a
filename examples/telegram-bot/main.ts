import { fileURLToPath } from 'node:url';
import { createAgent } from 'agentup';
import { playTelegram } from './play-telegram.js';
import { telegramBot } from './telegram-bot.js';

const agent = await createAgent(fileURLToPath(new URL('agent_config.yaml', import.meta.url)));
const token = process.env['BOT_TOKEN'];
if (token) {
  const bot = telegramBot(token, agent);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void bot.stop());
  await bot.start({ onStart: ({ username }) => console.log(`talk to @${username}; stop with Ctrl+C`) });
} else {
  console.log('No BOT_TOKEN: Telegram is played here.\n');
  await playTelegram(telegramBot('1:nobody', agent));
}
await agent.close();
