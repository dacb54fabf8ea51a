import { describe } from 'vitest';
import type { ConversationContext } from '../../src/conversation/conversation-context.js';
import { injected } from '../../src/skill/injected.js';
import { skill } from '../../src/skill/skill.js';
import { stateful } from '../../src/skill/stateful.js';
import type { Task } from '../../src/skill/task.js';
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

// biome-ignore lint/suspicious/noExplicitAny: the mistakes below do not compile otherwise
const anywhere = stateful as () => any;

describe('legacy decorators', () => {
  decoratorCases({
    Counter,
    Child,
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
  });
});
