/** Where a member of a bag is. */
export interface Place<Value> {
  readonly value: Value;
  /** -1 once it is out. */
  at: number;
}

/**
 * Members that come and go all the time, in no order. A `Set` or `Map` would leave a trail: V8 makes its table anew now
 * and then, the old one goes on referring to the new one, and once one of them has been promoted to the old generation
 * every scavenge keeps all tables that come after it, with what was in them, until the whole heap is looked through.
 * Where the members are turns or requests that takes up to half of the processor's time.
 */
export class Bag<Value> {
  readonly #places: Place<Value>[] = [];

  get size(): number {
    return this.#places.length;
  }

  add(value: Value): Place<Value> {
    const place = { value, at: this.#places.length };
    this.#places.push(place);
    return place;
  }

  /** Takes a member out; nothing, where it is out already. */
  delete(place: Place<Value>): void {
    const { at } = place;
    if (at < 0) return;
    const last = this.#places.pop() as Place<Value>;
    if (last !== place) {
      last.at = at;
      this.#places[at] = last;
    }
    place.at = -1;
  }

  /** The members as they are now. */
  values(): Value[] {
    return this.#places.map(({ value }) => value);
  }
}

/**
 * The same by key. The tables of a `Map` leave their trail here too, of keys and emptied cells: nothing of a value is
 * kept that has been deleted.
 */
export class KeyedBag<Value> {
  readonly #cells = new Map<string, { value: Value | undefined }>();

  get size(): number {
    return this.#cells.size;
  }

  get(key: string): Value | undefined {
    return this.#cells.get(key)?.value;
  }

  /** In place of what is there. */
  set(key: string, value: Value): void {
    const cell = this.#cells.get(key);
    if (cell) cell.value = value;
    else this.#cells.set(key, { value });
  }

  /** What is there now, by key. */
  entries(): [key: string, value: Value][] {
    return [...this.#cells].map(([key, { value }]) => [key, value as Value]);
  }

  /** Nothing, where there is none. */
  delete(key: string): void {
    const cell = this.#cells.get(key);
    if (!cell) return;
    cell.value = undefined;
    this.#cells.delete(key);
  }
}
