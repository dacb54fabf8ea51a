const BLANK = 32;
const ZERO = 48;
const MINUS = 45;

/**
 * Reads a text of words and whole numbers with one blank between them. `split` and `Number` take several times as
 * long, and two such texts come with every turn.
 */
export class Words {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Has the last word been read? */
  get ended(): boolean {
    return this.#at > this.#text.length;
  }

  /** The next word; empty where there is none. */
  next(): string {
    const blank = this.#text.indexOf(' ', this.#at);
    const end = blank < 0 ? this.#text.length : blank;
    const word = this.#text.slice(this.#at, end);
    this.#at = end + 1;
    return word;
  }

  /** The next word as a number; `NaN` where it is none, or there is none. */
  number(): number {
    const text = this.#text;
    const start = this.#at;
    const negative = text.charCodeAt(start) === MINUS;
    const first = negative ? start + 1 : start;
    let at = first;
    let sum = 0;
    for (let code = text.charCodeAt(at); at < text.length && code !== BLANK; code = text.charCodeAt(++at)) {
      const digit = code - ZERO;
      sum = digit >= 0 && digit <= 9 ? sum * 10 + digit : Number.NaN;
    }
    this.#at = at + 1;
    if (at === first) return Number.NaN;
    return negative ? -sum : sum;
  }
}
