import type { Cluster, Redis } from 'iovalkey';

/** Lets the connections of a client keep the process alive, or lets the process end in spite of them. */
export function hold(client: Redis | Cluster, alive: boolean): void {
  for (const { stream } of client.isCluster ? (client as Cluster).nodes() : [client as Redis]) {
    if (alive) stream?.ref?.();
    else stream?.unref?.();
  }
}

/** Writes what one tick sends in one system call, which is most of what sending costs. */
export class Bursts {
  readonly #open = new Map<Redis, Redis['stream']>();
  readonly #end: () => void;

  /** `last` is called for each connection that was written to, and may write more. */
  constructor(last: (client: Redis) => void) {
    this.#end = () => {
      for (const [client, stream] of this.#open) {
        last(client);
        stream.uncork();
      }
      this.#open.clear();
    };
  }

  /** This connection is about to be written to. */
  begin(client: Redis): void {
    if (this.#open.has(client)) return;
    if (this.#open.size === 0) process.nextTick(this.#end);
    const { stream } = client;
    this.#open.set(client, stream);
    stream.cork();
  }
}
