import { expect, test } from 'vitest';

let received: unknown;

function probe(_method: unknown, context: unknown): void {
  received = context;
}

class Probed {
  @probe
  method(): void {}
}

test('the tests here are compiled with standard decorators', () => {
  expect(new Probed()).toHaveProperty('method');
  expect(received).toMatchObject({ kind: 'method', name: 'method' });
});
