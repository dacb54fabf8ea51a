/**
 * Counts the commands in what a client sends: arrays of bulk strings, the only form clients use. Fed with chunks that
 * may end anywhere.
 */
export class RequestCounter {
  commands = 0;
  #line = '';
  /** Bulk strings that the command at hand still has. */
  #parts = 0;
  /** Bytes of the present bulk string still to skip, its line end included. */
  #skip = 0;

  feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      const end = chunk.indexOf('\n', at);
      this.#line += chunk.toString('latin1', at, end === -1 ? chunk.length : end + 1);
      if (end === -1) return;
      at = end + 1;
      this.#take(this.#line);
      this.#line = '';
    }
  }

  #take(line: string): void {
    const count = Number.parseInt(line.slice(1), 10);
    if (line.startsWith('*')) {
      this.commands++;
      this.#parts = count;
    } else if (line.startsWith('$') && this.#parts > 0) {
      this.#parts--;
      this.#skip = count + 2;
    } else {
      throw new Error(`not a request: ${JSON.stringify(line.slice(0, 80))}`);
    }
  }
}
