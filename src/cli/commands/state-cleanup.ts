import { EXIT, type ExitCode } from '../exit-codes.js';
import { usage } from '../interview.js';
import type { PlaceFlags } from '../place.js';
import { type ConfirmFlags, confirmed } from '../state/confirm.js';
import { CONVERSATION_SPACES, conversationsOf } from '../state/conversations.js';
import { withState } from '../state/open-state.js';
import { countText, durationOf } from '../state/texts.js';
import type { Terminal } from '../terminal.js';

export interface StateCleanupOptions extends PlaceFlags, ConfirmFlags {
  readonly olderThan?: string;
  readonly dryRun?: boolean;
}

/** `agentup state cleanup --older-than 24h`: removes what nobody has written to for so long. */
export async function run(options: StateCleanupOptions, terminal: Terminal): Promise<ExitCode> {
  const { olderThan, dryRun, json } = options;
  if (olderThan === undefined) throw usage('--older-than is missing: 90s, 30m, 24h or 7d', '--older-than');
  const updatedBefore = Date.now() - durationOf(olderThan, '--older-than');
  return withState(options, terminal, async (storage) => {
    let old = 0;
    for await (const _ of conversationsOf(storage, {}, { updatedBefore })) old++;
    const what = countText(old, 'conversation');
    if (dryRun || old === 0) {
      if (json) terminal.json({ removed: 0, old });
      else terminal.result(`${what} nobody has written to for ${olderThan}`);
      return EXIT.done;
    }
    await confirmed(`Remove ${what} nobody has written to for ${olderThan}?`, options, terminal);
    let removed = 0;
    for (const space of CONVERSATION_SPACES) removed += await storage.sweep({ space, updatedBefore });
    if (json) terminal.json({ removed, old });
    else terminal.result(`removed ${countText(removed, 'conversation')}`);
    return EXIT.done;
  });
}
