import { closeSync } from 'node:fs';

/** By descriptor, how many syncs use it, and whether it is to be closed after them. */
const lent = new Map<number, { users: number; closing: boolean }>();

/** Keeps an open file open until it is given back. */
export function lend(file: number): void {
  const use = lent.get(file);
  if (use) use.users++;
  else lent.set(file, { users: 1, closing: false });
}

/** Ends what `lend` began; who was to be closed meanwhile is closed now. */
export function giveBack(file: number): void {
  const use = lent.get(file);
  if (!use || --use.users > 0) return;
  lent.delete(file);
  if (use.closing) closeSync(file);
}

/** Closes a file, or has it closed when those are done that it is lent to. */
export function closeLater(file: number): void {
  const use = lent.get(file);
  if (use) use.closing = true;
  else closeSync(file);
}
