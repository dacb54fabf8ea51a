import type { IncomingMessage } from 'node:http';
import proxyAddr from 'proxy-addr';

/** Where a request comes from: an address, or nothing once its connection is gone. */
export type AddressOf = (request: IncomingMessage) => string;

/** @param proxies that many before the server are believed what they say in `X-Forwarded-For` */
export function clientAddress(proxies: number): AddressOf {
  const isOurs = (_address: string, hop: number): boolean => hop < proxies;
  return (request) => proxyAddr(request, isOurs) ?? '';
}
