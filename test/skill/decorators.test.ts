import { describe } from 'vitest';
import type { ConversationContext } from '../../src/conversation/conversation-context.js';
import { onConversationStarted, onToolCalled } from '../../src/skill/hooks.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
import { tool } from '../../src/skill/tool.js';
import { decoratorCases } from '../support/decorator-cases.js';

@skill({ id: 'counter', description: 'Counts' })
class Counter {
  greeting = 'hello';

  @stateful({ ttl: 60 })
  async handle(
    _task: Task,
    context: ConversationContext = injected(),
    contextId: string = injected(),
  ): Promise<string> {
    return `${this.greeting} ${contextId} ${await context.incrementVariable(contextId, 'n')}`;
  }
}

class Child extends Counter {
  override greeting = 'child';
}

@skill({ id: 'shop' })
class Shop {
  @stateful()
  async handle(_task: Task, _context: ConversationContext = injected()): Promise<unknown> {
    return this.price({ product: 'tea' });
  }

  @tool({ description: 'A price' })
  async price({ product }: { product: string }): Promise<string> {
    return `${product} costs 3`;
  }

  @onConversationStarted()
  @onToolCalled()
  async begin(_event: object, context: ConversationContext, contextId: string): Promise<void> {
    await context.incrementVariable(contextId, 'hooks');
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the mistakes below do not compile otherwise
const anywhere = stateful as () => any;

describe('legacy decorators', () => {
  decoratorCases({
    Counter,
    Child,
    Shop,
    misuse: {
      class: () => {
        @anywhere()
        class Wrong {}
        return Wrong;
      },
      field: () => {
        class Wrong {
          @anywhere()
          field = 1;
        }
        return Wrong;
      },
      accessor: () => {
        class Wrong {
          @anywhere()
          accessor field = 1;
        }
        return Wrong;
      },
      getter: () => {
        class Wrong {
          @anywhere()
          get field(): number {
            return 1;
          }
        }
        return Wrong;
      },
    },
    bare: {
      // biome-ignore lint/suspicious/noExplicitAny: no types allow this
      method: (decorator: any) => {
        class Wrong {
          @decorator
          method(): void {}
        }
        return Wrong;
      },
      // biome-ignore lint/suspicious/noExplicitAny: no types allow this
      class: (decorator: any) => {
        @decorator
        class Wrong {}
        return Wrong;
      },
    },
  });
});
