import { createHash } from 'node:crypto';
import { decodeName, encodeName } from '../keys.js';

/** Longer codes are cut and end in a hash, so that name, suffixes and all stay below the 255 of most file systems. */
const MAX_LENGTH = 140;
const KEPT = 60;
const DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)$/;

/** The name of a file or directory for any text: equal for equal texts only, and harmless on every file system. */
export function fileName(text: string): string {
  const code = encodeName(text);
  if (code.length > MAX_LENGTH) return `${code.slice(0, KEPT)}~${createHash('sha256').update(text).digest('hex')}`;
  // Windows opens devices under these names, whatever the ending.
  return DEVICE.test(code) ? `%${code.charCodeAt(0).toString(16)}${code.slice(1)}` : code;
}

/** The text behind a name, or `undefined` where the name holds only a hash of it. */
export function textOfFileName(name: string): string | undefined {
  return name.includes('~') ? undefined : decodeName(name);
}
