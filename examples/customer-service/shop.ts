/** What the shop knows, in place of its database. */
export interface Order {
  readonly id: string;
  readonly customerId: string;
  readonly status: 'packed' | 'sent' | 'delivered';
  readonly items: readonly string[];
  readonly total: number;
}

const ORDERS: readonly Order[] = [
  { id: 'ORD-789', customerId: 'sarah', status: 'sent', items: ['P123'], total: 89.9 },
  { id: 'ORD-790', customerId: 'sarah', status: 'delivered', items: ['P456', 'P123'], total: 120 },
  { id: 'ORD-800', customerId: 'tom', status: 'packed', items: ['P456'], total: 30.1 },
];
const PRICES: Readonly<Record<string, number>> = { P123: 89.9, P456: 30.1 };

export async function findOrder(id: string): Promise<Order | undefined> {
  return ORDERS.find((order) => order.id === id);
}

export async function priceOf(productId: string): Promise<number> {
  const price = PRICES[productId];
  if (price === undefined) throw new Error(`there is no product ${productId}`);
  return price;
}

/** Who logs in with this password. */
export async function authenticate(username: string, password: string): Promise<string | undefined> {
  return password === 'secret' ? username.toLowerCase() : undefined;
}
