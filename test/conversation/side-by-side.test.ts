import assert from 'node:assert/strict';
import { AsyncResource } from 'node:async_hooks';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { ConversationContext } from '../../src/conversation/conversation-context.js';
import { withState } from '../../src/skill/with-state.js';
import type { RecordKey } from '../../src/storage/keys.js';
import { MemoryStorage } from '../../src/storage/memory-storage.js';
import type { Change, CommitOptions } from '../../src/storage/state-storage.js';

const RUNS = Number(process.env['AGENTUP_PROPERTY_RUNS'] ?? 12) * 20;

type Act = 'write' | 'save' | Handler;

/** What a handler does; in the end it may throw, or have a save refused and throw. */
interface Handler {
  acts: Act[];
  end: 'returns' | 'throws' | 'is refused';
}

const act = (deeper: fc.Arbitrary<Handler>): fc.Arbitrary<Act> =>
  fc.oneof<fc.WeightedArbitrary<Act>[]>(
    { weight: 3, arbitrary: fc.constant('write') },
    { weight: 1, arbitrary: fc.constant('save') },
    { weight: 2, arbitrary: deeper },
  );
const { handler } = fc.letrec<{ handler: Handler }>((tie) => ({
  handler: fc.record({
    acts: fc.array(act(tie('handler')), { maxLength: 4, depthIdentifier: 'handlers' }),
    end: fc.constantFrom('returns', 'throws', 'is refused'),
  }),
}));
const outermost = fc.array(act(handler), { maxLength: 6 }).map((acts): Handler => ({ acts, end: 'returns' }));
/** So many turns of the loop each commit takes, and each handler waits before what it does. */
const pauses = fc.array(fc.nat(3), { minLength: 1, maxLength: 20 });

describe('handlers side by side in the turn of one', { timeout: Math.max(120_000, RUNS * 50) }, () => {
  it('leave what those that returned have written, and what was saved by those that threw', async () => {
    await fc.assert(
      fc.asyncProperty(outermost, pauses, (first, pauses) => new SideBySide(pauses).run(first)),
      { numRuns: RUNS },
    );
  });
});

class SideBySide {
  readonly #pauses: readonly number[];
  #paused = 0;
  readonly #storage: MemoryStorage;
  readonly #context: ConversationContext;
  readonly #outside = new AsyncResource('outside');
  /** Each write adds another power of two. */
  #writes = 0;
  /** The sum of what is to be there in the end. */
  #wanted = 0;

  constructor(pauses: readonly number[]) {
    this.#pauses = pauses;
    const pause = () => this.#pause();
    this.#storage = new (class extends MemoryStorage {
      override async commit(key: RecordKey, changes: readonly Change[], options?: CommitOptions) {
        await pause();
        return super.commit(key, changes, options);
      }
    })();
    this.#context = new ConversationContext(this.#storage);
  }

  async run(first: Handler): Promise<void> {
    const task = { id: 't', contextId: 'c', text: '' };
    await this.#context.setVariable('c', 'text', 0);
    await withState(async (_: unknown, context: ConversationContext) => {
      await this.#outside.runInAsyncScope(() => this.#context.setVariable('c', 'text', 'text'));
      const left = await this.#handle(first, context);
      this.#wanted += left;
      assert.equal(await context.getVariable('c', 'n', 0), this.#wanted);
    })(task, this.#context);
    assert.equal(await this.#context.getVariable('c', 'n', 0), this.#wanted);
    assert.equal(await this.#context.getVariable('c', 'text'), 'text');
  }

  /**
   * @param saved where it, or one that it is called from, throws in the end: told of a save in it. Then one comes
   * after the other in it, so that it is known what its saves were about.
   * @returns what it has written, and not saved where it throws
   */
  async #handle({ acts, end }: Handler, context: ConversationContext, saved?: () => void): Promise<number> {
    let unsaved = 0;
    const save =
      saved &&
      (() => {
        this.#wanted += unsaved;
        unsaved = 0;
        saved();
      });
    const called: Promise<void>[] = [];
    for (const act of acts) {
      await this.#pause();
      if (act === 'save') {
        await context.save('c');
        save?.();
      } else if (act !== 'write') {
        const running = this.#call(act, save).then((left) => {
          unsaved += left;
        });
        if (save) await running;
        else called.push(running);
      } else if (this.#writes < 50) {
        const by = 2 ** this.#writes++;
        await context.incrementVariable('c', 'n', by);
        unsaved += by;
      }
    }
    await Promise.all(called);
    if (end === 'is refused') {
      await context.incrementVariable('c', 'text');
      await assert.rejects(context.save('c'), { code: 'WRONG_TYPE' });
    }
    if (end !== 'returns') throw new Error('thrown');
    return unsaved;
  }

  /** @returns what of it is to be there if those that called it return */
  async #call(handler: Handler, saved?: () => void): Promise<number> {
    const told = handler.end === 'returns' ? saved : (saved ?? (() => {}));
    let left = 0;
    const called = withState(async (_: unknown, context: ConversationContext) => {
      left = await this.#handle(handler, context, told);
    });
    await called({ id: 't', contextId: 'c', text: '' }, this.#context).catch((error: Error) => {
      if (error.message !== 'thrown') throw error;
    });
    return left;
  }

  async #pause(): Promise<void> {
    const turns = this.#pauses[this.#paused++ % this.#pauses.length] as number;
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
  }
}
