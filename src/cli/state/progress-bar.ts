import type { Terminal } from '../terminal.js';

const WIDTH = 24;
const EVERY_MS = 80;

/** How far long work is, on one line of stderr that is drawn anew; nothing where that is no terminal. */
export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #started = performance.now();
  #drawn = Number.NEGATIVE_INFINITY;
  #open = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** `total`: 0 where it is not known. */
  show(what: string, done: number, total: number): void {
    const now = performance.now();
    if (this.#terminal.stderr.isTTY !== true || (now - this.#drawn < EVERY_MS && done !== total)) return;
    this.#drawn = now;
    this.#open = true;
    const share = total === 0 ? 0 : Math.min(1, done / total);
    const full = Math.round(share * WIDTH);
    const bar = `${'█'.repeat(full)}${'░'.repeat(WIDTH - full)} ${String(Math.floor(share * 100)).padStart(3)} %`;
    const perSecond = Math.round(done / Math.max(0.001, (now - this.#started) / 1000));
    const counts = total === 0 ? `${done}` : `${done}/${total}`;
    this.#terminal.stderr.write(`\r\u001b[K${total === 0 ? '' : `${bar} `}${what} ${counts} (${perSecond}/s)`);
  }

  /** Leaves the line as it is and goes on below. */
  end(): void {
    if (this.#open) this.#terminal.stderr.write('\n');
    this.#open = false;
  }
}
