#!/usr/bin/env node
import { existsSync } from 'node:fs';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const entry = new URL('../dist/cli/main.js', import.meta.url);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`agentup needs Node 20.19 or newer; this is ${process.versions.node}.`);
  process.exitCode = 1;
} else if (!existsSync(entry)) {
  console.error('agentup has not been built yet: run `npm run build` in its directory.');
  process.exitCode = 1;
} else {
  const { main } = await import(entry.href);
  await main(process.argv.slice(2));
}
