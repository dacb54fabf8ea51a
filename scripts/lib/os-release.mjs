import { readFileSync } from 'node:fs';

/**
 * What `/etc/os-release` says; empty where there is none.
 * @returns {Record<string, string | undefined>}
 */
export function osRelease() {
  try {
    return parseOsRelease(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    return {};
  }
}

/**
 * @param {string} text
 * @returns {Record<string, string | undefined>}
 */
export function parseOsRelease(text) {
  return Object.fromEntries(
    [...text.matchAll(/^([A-Z_]+)=(?:"([^"\n]*)"|'([^'\n]*)'|([^\n]*))$/gm)].map((match) => [
      match[1],
      match[2] ?? match[3] ?? match[4] ?? '',
    ]),
  );
}
