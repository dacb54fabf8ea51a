import { expect, test } from 'vitest';

let received: unknown[] = [];

function probe(...args: unknown[]): void {
  received = args;
}

class Probed {
  @probe
  method(): void {}
}

test('the other tests are compiled with legacy decorators', () => {
  expect(received).toEqual([Probed.prototype, 'method', expect.objectContaining({ writable: true })]);
});
