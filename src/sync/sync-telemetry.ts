import { activeTelemetry, type ExchangeNote } from '../telemetry.js';
import type { Delivery } from './delivery.js';
import type { Batch } from './outbox-entry.js';
import type { PullResult } from './sync-types.js';

/** One attempt to bring a batch to the remote, as a span where an SDK takes it. */
export function observedDelivery({ entries }: Batch, deliver: () => Promise<Delivery>): Promise<Delivery> {
  return observed(
    { operation: 'sync.send', counts: { 'agentup.entries': entries.length } },
    deliver,
    (delivery) => delivery.outcome !== 'delivered' && { failure: delivery.error.code },
  );
}

/** One pull, as a span where an SDK takes it. */
export function observedPull(pull: () => Promise<PullResult>): Promise<PullResult> {
  return observed({ operation: 'sync.pull' }, pull, ({ status, error, changed, conflicts, messages }) => {
    if (error) return { failure: error.code };
    if (status !== 'pulled') return { outcome: status };
    const counts = {
      'agentup.changed': Object.keys(changed ?? {}).length,
      'agentup.conflicts': conflicts?.length ?? 0,
      'agentup.messages': messages?.length ?? 0,
    };
    return { counts };
  });
}

/** Nothing is added to work that nobody looks at. */
function observed<T>(
  note: ExchangeNote,
  run: () => Promise<T>,
  tell: (result: T) => Pick<ExchangeNote, 'outcome' | 'failure' | 'counts'> | false,
): Promise<T> {
  const telemetry = activeTelemetry();
  if (!telemetry) return run();
  return telemetry.exchange(note, async () => {
    const result = await run();
    Object.assign(note, tell(result));
    return result;
  });
}
