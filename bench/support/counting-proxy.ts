import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { RequestCounter } from './request-counter.js';

export interface Traffic {
  /** Bytes from the clients to the server. */
  readonly out: number;
  readonly in: number;
  readonly commands: number;
  /** How often a client spoke after the server had: what it waited for. */
  readonly roundTrips: number;
}

export interface CountingProxy {
  readonly url: string;
  /** Everything so far. */
  read(): Traffic;
  close(): Promise<void>;
}

/** Stands between clients and the server on this port of this machine, and counts what passes. */
export async function countingProxy(port: number): Promise<CountingProxy> {
  const counted = { out: 0, in: 0, commands: 0, roundTrips: 0 };
  const sockets = new Set<Socket>();
  let clientSpeaks = false;

  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    const requests = new RequestCounter();
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      // The other end learns of an end or an error by its own end.
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk) => {
      const before = requests.commands;
      requests.feed(chunk);
      counted.commands += requests.commands - before;
      counted.out += chunk.length;
      if (!clientSpeaks) counted.roundTrips++;
      clientSpeaks = true;
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      counted.in += chunk.length;
      clientSpeaks = false;
      client.write(chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    read: () => ({ ...counted }),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
