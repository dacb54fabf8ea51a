import { describe, expect, it } from 'vitest';
import { syncBody } from '../../src/conversation-api/schemas.js';
import {
  cartaaiMapping,
  fieldsOf,
  type StateMapping,
  sameValue,
  toBody,
  toFields,
  toPaths,
  withValue,
} from '../../src/sync/state-mapping.js';

const state = {
  cart: { items: [{ sku: 'a', price: 3 }], total: 3, note: 'not mapped' },
  user_location: { street: 'Av. Grau 1' },
  payment_method: 'yape',
  customer_name: 'Ana',
  current_order_id: 'o1',
  order_stage: 'checkout',
  other: 1,
};

describe("CartaAI's mapping", () => {
  it('says in the words of the API what it calls things', () => {
    const body = toBody(toFields(state, cartaaiMapping));
    expect(body).toEqual({
      currentIntent: 'delivery',
      currentOrderId: 'o1',
      context: {
        selectedItems: [{ sku: 'a', price: 3 }],
        orderTotal: 3,
        deliveryAddress: { street: 'Av. Grau 1' },
        paymentMethod: 'yape',
        customerName: 'Ana',
      },
    });
    expect(syncBody.safeParse(body).success).toBe(true);
  });

  it.each([
    [{ workflow: 'menu' }, 'menu'],
    [{ order_stage: 'cart' }, 'order'],
    [{ order_stage: 'checkout' }, 'delivery'],
    [{ order_stage: 'payment' }, 'payment'],
    [{ workflow: 'menu', order_stage: 'cart' }, 'order'],
    [{ workflow: 'order' }, undefined],
    [{}, undefined],
  ])('makes of %j the intent %s', (given, intent) => {
    expect(toFields(given, cartaaiMapping)['currentIntent']).toBe(intent);
    if (Object.keys(given).length === 1 && intent)
      expect(toPaths('currentIntent', intent, cartaaiMapping)).toEqual(given);
  });

  it('goes back the way it came', () => {
    let back: unknown = {};
    for (const [field, value] of Object.entries(toFields(state, cartaaiMapping))) {
      for (const [path, inside] of Object.entries(toPaths(field, value, cartaaiMapping))) {
        back = withValue(back, path.split('.'), inside);
      }
    }
    const { other: _, cart, ...rest } = state;
    expect(back).toEqual({ ...rest, cart: { items: cart.items, total: 3 } });
  });

  it('says nothing of what is not there, and removes what is null', () => {
    expect(toFields({ cart: {}, payment_method: null, current_order_id: null }, cartaaiMapping)).toEqual({
      'context.paymentMethod': null,
    });
    expect(toFields({ cart: 'text' }, cartaaiMapping)).toEqual({});
  });
});

it('takes a mapping of your own, also to metadata and to names that are special', () => {
  const own: StateMapping = { fields: { a: 'metadata.x.y', 'b.c': 'context.__proto__', s: 'currentStep' } };
  const body = toBody(toFields({ a: 1, b: { c: 2 }, s: 'two' }, own));
  expect(JSON.stringify(body)).toBe('{"metadata":{"x.y":1},"context":{"__proto__":2},"currentStep":"two"}');
  expect(fieldsOf(body, own)).toEqual({ 'metadata.x.y': 1, 'context.__proto__': 2, currentStep: 'two' });
});

it('compares as JSON', () => {
  expect(sameValue({ a: [1, { b: 2 }], c: 3 }, { c: 3, a: [1, { b: 2 }] })).toBe(true);
  expect(sameValue([], {})).toBe(false);
  expect(sameValue({ a: undefined }, { b: 1 })).toBe(false);
  expect(sameValue(null, undefined)).toBe(false);
  expect(sameValue([1, 2], [2, 1])).toBe(false);
});
