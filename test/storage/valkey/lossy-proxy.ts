import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP relay on loopback that can lose the answer to a question the server has already acted on. */
export interface LossyProxy {
  readonly url: string;
  /** The next `count` answers are lost, and their connections with them. */
  lose(count: number): void;
  /** How many connections were made. */
  readonly connections: number;
  stop(): Promise<void>;
}

export async function startLossyProxy(port: number): Promise<LossyProxy> {
  const sockets = new Set<Socket>();
  let losing = 0;
  let connections = 0;
  const server = createServer((inside) => {
    connections++;
    const outside = connect(port, '127.0.0.1');
    for (const socket of [inside, outside]) {
      sockets.add(socket);
      socket.setNoDelay(true).on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        inside.destroy();
        outside.destroy();
      });
    }
    inside.pipe(outside);
    outside.on('data', (data: Buffer) => {
      if (losing > 0) {
        losing--;
        inside.destroy();
      } else inside.write(data);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `valkey://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lose: (count) => {
      losing = count;
    },
    get connections() {
      return connections;
    },
    stop: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}
