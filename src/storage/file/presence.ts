import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { syncNow } from './durability.js';
import { type Owner, stateOf, thisOwner } from './process-owner.js';

/** How often a process shows to others, which cannot see whether it runs, that it lives. */
const HEARTBEAT_MS = 3_000;

/**
 * That this process uses a directory: the owner file, which its locks are links to. Made before the first write,
 * removed at the end; those of dead processes are swept.
 */
export class Presence {
  readonly owner: Owner = thisOwner();
  readonly ownerFile: string;
  readonly #root: string;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(root: string) {
    this.#root = root;
    this.ownerFile = join(root, '.owners', this.owner.nonce);
  }

  /** Makes the directory and the owner file, once. `again`: the directory may have been emptied meanwhile. */
  enter(again = false): void {
    if (this.#heartbeat && !again) return;
    const directory = dirname(this.ownerFile);
    mkdirSync(directory, { recursive: true });
    writeFileSync(this.ownerFile, JSON.stringify(this.owner));
    // An empty owner file after a power cut would name nobody for ever.
    syncNow(this.ownerFile);
    const format = join(this.#root, 'agentup.json');
    if (!statSync(format, { throwIfNoEntry: false })) writeFileSync(format, '{"format":1}\n');
    this.#sweep(directory);
    this.#heartbeat ??= setInterval(() => {
      try {
        this.touch();
      } catch {
        // The directory has been removed; the next call makes it again.
      }
    }, HEARTBEAT_MS).unref();
  }

  /** Proves that the directory can be written to. */
  touch(): void {
    utimesSync(this.ownerFile, new Date(), new Date());
  }

  leave(): void {
    clearInterval(this.#heartbeat);
    rmSync(this.ownerFile, { force: true });
  }

  #sweep(directory: string): void {
    for (const name of readdirSync(directory)) {
      try {
        const owner = JSON.parse(readFileSync(join(directory, name), 'utf8')) as Owner;
        if (name !== this.owner.nonce && stateOf(owner) === 'dead') rmSync(join(directory, name), { force: true });
      } catch {
        // Being written by somebody just now, or gone already.
      }
    }
  }
}
