import type { Cluster, Redis } from 'iovalkey';
import { asCommand, type LeanCommand } from './lean-command.js';

/** Lets the connections of a client keep the process alive, or lets the process end in spite of them. */
export function hold(client: Redis | Cluster, alive: boolean): void {
  for (const { stream } of client.isCluster ? (client as Cluster).nodes() : [client as Redis]) {
    if (alive) stream?.ref?.();
    else stream?.unref?.();
  }
}

/** Characters put together at most: no text may be as long as all that a tick can send. */
const MOST = 256 * 1024;

/** What is written to one connection in one tick. */
class Burst {
  readonly client: Redis;
  /** Where iovalkey writes commands to instead of the socket, which nobody else writes to. */
  readonly into: { write(text: string): void } | undefined;
  open = false;
  #text = '';
  #corked: Redis['stream'] | undefined;

  constructor(client: Redis, whole: boolean) {
    this.client = client;
    this.into = whole
      ? {
          write: (text) => {
            this.#text += text;
            if (this.#text.length > MOST) this.#flush();
          },
        }
      : undefined;
  }

  begin(): void {
    this.open = true;
    if (this.into) return;
    this.#corked = this.client.stream;
    this.#corked.cork();
  }

  end(): void {
    this.open = false;
    this.#corked?.uncork();
    this.#flush();
  }

  #flush(): void {
    const text = this.#text;
    this.#text = '';
    // Of a connection that was lost meanwhile every command has been told.
    if (text !== '' && this.client.stream.writable) this.client.stream.write(text);
  }
}

/** Writes what one tick sends in one system call, which is most of what sending costs. */
export class Bursts {
  readonly #whole: boolean;
  readonly #bursts = new WeakMap<Redis, Burst>();
  #open: Burst[] = [];
  readonly #end: () => void;

  /**
   * @param whole nobody else sends anything by these clients, so that a tick's commands can be put together to one text
   * @param last is called for each connection that was written to, and may write more
   */
  constructor(whole: boolean, last: (client: Redis) => void) {
    this.#whole = whole;
    this.#end = () => {
      for (const { client } of this.#open) last(client);
      const bursts = this.#open;
      this.#open = [];
      for (const burst of bursts) burst.end();
    };
  }

  send(client: Redis, command: LeanCommand): void {
    let burst = this.#bursts.get(client);
    if (!burst) {
      burst = new Burst(client, this.#whole);
      this.#bursts.set(client, burst);
    }
    if (!burst.open) {
      if (this.#open.length === 0) process.nextTick(this.#end);
      this.#open.push(burst);
      burst.begin();
    }
    client.sendCommand(asCommand(command), burst.into as Parameters<Redis['sendCommand']>[1]);
  }
}
