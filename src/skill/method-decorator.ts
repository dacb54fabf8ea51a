import { AgentUpError } from '../errors.js';

// biome-ignore lint/suspicious/noExplicitAny: a decorator takes methods of every signature
type AnyMethod = (this: any, ...args: any[]) => any;

/**
 * Applies `wrap` to the decorated method in either dialect: legacy (target, name, descriptor) or TC39 (method, context).
 * @throws DECORATOR_MISUSE on anything but a method
 */
export function decorateMethod(
  decorator: string,
  args: readonly unknown[],
  wrap: (method: AnyMethod) => AnyMethod,
): unknown {
  const [target, second, descriptor] = args;
  if (args.length === 2 && typeof second === 'object' && second !== null && 'kind' in second) {
    const { kind, name } = second as { kind: string; name?: string | symbol };
    if (kind !== 'method') throw misuse(decorator, kind, name);
    return dressed(wrap, target as AnyMethod);
  }
  if (typeof target === 'function' && second === undefined) throw misuse(decorator, 'class', target.name);
  const property = descriptor as PropertyDescriptor | undefined;
  if (!property) throw misuse(decorator, 'field', second as string);
  if (typeof property.value !== 'function') throw misuse(decorator, 'accessor', second as string);
  return { ...property, value: dressed(wrap, property.value as AnyMethod) };
}

/**
 * Refuses `@stateful` where `@stateful()` is meant: it is then called as the decorator itself, with the method or class
 * in the place of its options. A compiler refuses that, but tsx and esbuild look at no types.
 * @throws DECORATOR_MISUSE
 */
export function refuseBare(decorator: string, given: ArrayLike<unknown>, written = `@${decorator}()`): void {
  if (typeof given[0] !== 'function' && given.length <= 2) return;
  throw new AgentUpError('DECORATOR_MISUSE', `@${decorator} lacks its parentheses`, { fix: `write ${written}` });
}

/** The wrapper under the name and length of what it wraps. */
export function dressed(wrap: (method: AnyMethod) => AnyMethod, method: AnyMethod): AnyMethod {
  const wrapper = wrap(method);
  for (const property of ['name', 'length'] as const) {
    Object.defineProperty(wrapper, property, { value: method[property], configurable: true });
  }
  return wrapper;
}

function misuse(decorator: string, kind: string, name: string | symbol | undefined): AgentUpError {
  return new AgentUpError(
    'DECORATOR_MISUSE',
    `@${decorator}() belongs on a method; ${name === undefined ? 'this' : String(name)} is a ${kind}`,
    { fix: `move @${decorator}() above a method of the class` },
  );
}
