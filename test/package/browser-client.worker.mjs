import { text } from 'node:stream/consumers';
import { createContext, SourceTextModule } from 'node:vm';

/** Runs a client of modules given as text, in a realm with nothing but what a browser has, against a remote. */
const { entry, sources, imports, globals, url } = JSON.parse(await text(process.stdin));
const context = createContext(
  Object.fromEntries(globals.map((/** @type {string} */ name) => [name, Reflect.get(globalThis, name)])),
);
const modules = new Map();
for (const [file, code] of Object.entries(sources)) {
  modules.set(file, new SourceTextModule(code, { context, identifier: file }));
}
const main = modules.get(entry);
await main.link((/** @type {string} */ name, /** @type {{ identifier: string }} */ from) =>
  modules.get(imports[from.identifier][name]),
);
await main.evaluate();
const client = new main.namespace.ConversationClient({ baseUrl: url, apiKey: 'test-key', subDomain: 'shop' });
const { sessionId } = await client.create({ userId: 'ana' });
await client.addMessages(sessionId, { role: 'user', content: 'from a browser' });
const missing = await client.get('nobody').catch((/** @type {{ code: string }} */ error) => error.code);
console.log(JSON.stringify({ said: (await client.ofUser('ana')).lastUserMessage, missing }));
