import { checkObject } from '../check-object.js';
import type { ConversationContext } from '../conversation/conversation-context.js';
import { AgentUpError } from '../errors.js';
import type { OutputOf, StandardSchema } from '../standard-schema.js';
import { checkOptions } from './check-options.js';
import { invokeTool } from './invoke-tool.js';
import { decorateMethod, refuseBare } from './method-decorator.js';
import { recordTool, type ToolMetadata, type ToolOptions, type ToolStateOptions } from './tool-metadata.js';

/** A method that `@tool()` may stand on: the injected parameters have defaults (`= injected()`). */
export type ToolMethod<Args> = (
  args: Args,
  context?: ConversationContext,
  contextId?: string,
  signal?: AbortSignal,
) => Promise<unknown>;

/** Works as a legacy decorator and as a TC39 one. */
export interface ToolDecorator<Args> {
  <M extends ToolMethod<Args>>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<M>,
  ): TypedPropertyDescriptor<M>;
  <This, M extends ToolMethod<Args>>(method: M, context: ClassMethodDecoratorContext<This, M>): M;
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const DEFAULT_TIMEOUT = 30;
/** Its own, and those of the options of a handler that make sense for it. */
const OPTIONS: readonly (keyof ToolOptions)[] = [
  ...(['description', 'name', 'input', 'inputSchema', 'timeout'] as const),
  ...(['storage', 'url', 'keyPrefix', 'ttl', 'storageDir', 'concurrency', 'scope', 'history'] as const),
];
/** Longer ones would end at once: a timer holds no more. */
const MAX_TIMEOUT = 2_000_000;

/**
 * Makes a method of a skill a tool that a model, or anybody, may call by name. It runs in the turn that it is called
 * from, or in one of its own; it is given the arguments as the schema put them out, the context and the context id of
 * that turn, and a signal that is aborted when its time is up.
 *
 * Its state is that of the skill's handler, unless `scope`, `storage` and the like are given here.
 * @throws DECORATOR_MISUSE, INVALID_ARGUMENT, TTL_INVALID at decoration
 */
// biome-ignore lint/suspicious/noExplicitAny: without a schema the arguments are what the method says they are
export function tool<Schema extends StandardSchema<any, any> | undefined = undefined>(
  options: Omit<ToolOptions, 'input'> & { readonly input?: Schema },
  // biome-ignore lint/suspicious/noExplicitAny: as above
): ToolDecorator<Schema extends StandardSchema<any, any> ? OutputOf<Schema> : any> {
  // biome-ignore lint/complexity/noArguments: what it is given without parentheses is in no signature
  refuseBare('tool', arguments, "@tool({ description: '…' })");
  checkObject(options, '@tool()', "@tool({ description: 'Adds two numbers', input: schema })");
  const { description, name: given, input, inputSchema, timeout = DEFAULT_TIMEOUT, ...rest } = options;
  if (typeof description !== 'string' || description.trim() === '') throw invalid('description', 'a text');
  if (typeof timeout !== 'number' || !(timeout > 0) || timeout > MAX_TIMEOUT) {
    throw invalid('timeout', `a number of seconds up to ${MAX_TIMEOUT}`);
  }
  checkOptions(rest, '@tool()', OPTIONS);
  const isOwn = Object.values(rest).some((value) => value !== undefined);
  const state: ToolStateOptions | undefined = isOwn ? rest : undefined;
  return ((...args: unknown[]) =>
    decorateMethod('tool', args, (method) => {
      const name = given ?? method.name;
      if (!NAME.test(name)) throw invalid('name', 'letters, digits, _ and -, 64 at most');
      const metadata: ToolMetadata = {
        name,
        description,
        input: input as StandardSchema | undefined,
        inputSchema,
        timeoutMs: timeout * 1000,
        state,
        run: method,
      };
      function call(this: object, ofTool?: unknown, context?: unknown, contextId?: unknown): Promise<unknown> {
        return invokeTool({ metadata, self: this, run: (...inner) => method.apply(this, inner) }, ofTool, {
          context,
          ...(typeof contextId === 'string' && { contextId }),
        });
      }
      recordTool(call, metadata);
      return call;
    })) as ToolDecorator<never>;
}

function invalid(argument: string, wanted: string): AgentUpError {
  return new AgentUpError('INVALID_ARGUMENT', `the ${argument} of a tool is ${wanted}`, { argument });
}
